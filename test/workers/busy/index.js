import { WorkerEntrypoint } from "cloudflare:workers";

/** Ends only if its reader goes away. */
function drip() {
  const { readable, writable } = new TransformStream();
  const writer = writable.getWriter();
  const go = async () => {
    for (;;) {
      await writer.write(new Uint8Array(1));
      await scheduler.wait(200);
    }
  };
  go().catch(() => {});
  return readable;
}

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === "/call") {
      return new Response(await env.BUSY.greet().catch((error) => error.message));
    }
    const [, deed, time] = pathname.split("/");
    if (deed === "until") await scheduler.wait(Number(time) - Date.now());
    return deed === "drip" ? new Response(drip()) : new Response("done");
  },
  async queue(batch, env) {
    for (const { body, attempts } of batch.messages) await env.KV.put(body, String(attempts));
  },
};

export class Methods extends WorkerEntrypoint {
  greet() {
    return "hello";
  }
}
