// A worker that does on request what the platform must cope with.
import { WorkerEntrypoint } from "cloudflare:workers";

let calls = 0;
const text = new TextEncoder();

export class Calculator extends WorkerEntrypoint {
  add(a, b) {
    return a + b;
  }
  counter() {
    let count = 0;
    return () => ++count;
  }
  props() {
    return this.ctx.props;
  }
  fail() {
    throw new TypeError("no such sum");
  }
  fetch(request) {
    return new Response(`calculator got ${new URL(request.url).pathname}`);
  }
}

const handlers = {
  "/calls": () => Response.json({ calls: ++calls }),
  "/throw": () => {
    throw new RangeError("thrown on request");
  },
  "/never": () => new Promise(() => setInterval(() => {}, 1000)),
  "/echo": (request) => new Response(request.body, { headers: { "x-method": request.method } }),
  "/headers": (request) => Response.json(Object.fromEntries(request.headers)),
  "/redirect": () => Response.redirect("https://example.com/elsewhere", 302),
  "/env": (_request, env) =>
    Response.json({ TEXT: env.TEXT, JSON: env.JSON, META: env.META, keys: Object.keys(env) }),
  "/socket": (_request, _env, ctx) => {
    const [client, server] = Object.values(new WebSocketPair());
    server.accept();
    server.addEventListener("message", ({ data }) => server.send(`${data} ${++calls}`));
    ctx.waitUntil(new Promise((resolve) => server.addEventListener("close", resolve)));
    return new Response(null, { status: 101, webSocket: client });
  },
  "/stream": (request) => {
    const seconds = Number(new URL(request.url).searchParams.get("seconds"));
    let sent = 0;
    return new Response(
      new ReadableStream({
        async pull(controller) {
          await scheduler.wait(1000);
          controller.enqueue(text.encode(`${++sent}\n`));
          if (sent >= seconds) controller.close();
        },
      }),
    );
  },
  "/later": (_request, env, ctx) => {
    ctx.waitUntil(scheduler.wait(3000).then(() => env.KV.put("later", "done")));
    return new Response("soon");
  },
  "/later/read": async (_request, env) => new Response(await env.KV.get("later")),
  "/rpc": async (_request, env) => {
    using counter = await env.CALCULATOR.counter();
    return Response.json({
      sum: await env.CALCULATOR.add(2, 3),
      counted: [await counter(), await counter()],
      props: await env.CALCULATOR.props(),
      fetched: await (await env.CALCULATOR.fetch("https://calculator/path")).text(),
      failed: await env.CALCULATOR.fail().catch((error) => `${error.name}: ${error.message}`),
      missing: await env.CALCULATOR.missing().catch((error) => error.message),
    });
  },
  "/outside": async (request) => {
    const url = new URL(request.url).searchParams.get("url");
    const outcome = await fetch(url).then(
      (response) => `status ${response.status}`,
      (error) => `refused: ${error.message}`,
    );
    return new Response(outcome);
  },
};

export default {
  async fetch(request, env, ctx) {
    const handler = handlers[new URL(request.url).pathname];
    return handler ? handler(request, env, ctx) : new Response("probe");
  },
};
