// Keeps numbered entries in every kind of store, to see which of them a restart finds.
export default {
  async fetch(request, { KV, BUCKET, DB }) {
    await DB.exec("CREATE TABLE IF NOT EXISTS entries (number INTEGER PRIMARY KEY)");
    if (request.method === "PUT") {
      const number = new URL(request.url).pathname.slice(1);
      await KV.put(number, "kv");
      await BUCKET.put(number, "r2");
      await DB.prepare("INSERT INTO entries VALUES (?)").bind(Number(number)).run();
      return new Response("written");
    }
    const [kv, r2, d1] = await Promise.all([
      KV.list(),
      BUCKET.list(),
      DB.prepare("SELECT number FROM entries").all(),
    ]);
    return Response.json({
      kv: kv.keys.map(({ name }) => Number(name)),
      r2: r2.objects.map(({ key }) => Number(key)),
      d1: d1.results.map(({ number }) => number),
    });
  },
};
