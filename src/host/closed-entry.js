// What answers on the port that Miniflare opens for itself: nothing is served there.
export default { fetch: () => new Response(null, { status: 404 }) };
