// Keeps what it is told of other workers' invocations, and gives it to whoever asks.
export default {
  async fetch(request, env) {
    const { keys } = await env.KV.list();
    const batches = await Promise.all(keys.map(({ name }) => env.KV.get(name, "json")));
    return Response.json(batches);
  },
  async tail(items, env, ctx) {
    const told = items.map((item) => ({
      item,
      unredacted: item.event?.request?.getUnredacted(),
    }));
    ctx.waitUntil(env.KV.put(crypto.randomUUID(), JSON.stringify(told)));
    if (items.some(({ logs }) => logs.some(({ message }) => message.includes("fail, tail")))) {
      throw new Error("as it was told");
    }
  },
};
