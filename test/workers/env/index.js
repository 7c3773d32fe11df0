// Tells what it was given: GET for the variables, POST to keep something in each store.
export default {
  async fetch(request, env) {
    if (request.method === "POST") {
      const text = await request.text();
      await env.KV?.put("key", text);
      await env.BUCKET?.put("key", text);
      await env.DB?.batch([
        env.DB.prepare("CREATE TABLE IF NOT EXISTS kept (text TEXT)"),
        env.DB.prepare("INSERT INTO kept VALUES (?)").bind(text),
      ]);
    }
    const { KV, BUCKET, DB, OTHER, ...variables } = env;
    return Response.json({
      ...variables,
      ...(KV && { KV: await KV.get("key") }),
      ...(BUCKET && { BUCKET: await (await BUCKET.get("key"))?.text() }),
      ...(DB && { DB: await DB.prepare("SELECT text FROM kept").first("text") }),
      ...(OTHER && { OTHER: await (await OTHER.fetch("http://other/")).json() }),
    });
  },
};
