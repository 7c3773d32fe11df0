// Sends to a queue and consumes it, for Mayfly and for Miniflare alike. Counts are kept where batches
// are handled, which need not be the isolate that answers requests, so they are asked for by RPC.
import { WorkerEntrypoint } from "cloudflare:workers";

const BODY = { event: "bench", text: "x".repeat(64) };
const BATCH = Array.from({ length: 100 }, () => ({ body: BODY }));

const gate = { isOpen: true };
let handled = 0;
let lastAt = 0;

export class Counter extends WorkerEntrypoint {
  /** From now on batches wait. */
  close() {
    gate.isOpen = false;
    handled = 0;
  }
  /** Lets the batches through; when that was. */
  open() {
    gate.isOpen = true;
    return Date.now();
  }
  /** How many messages have been handled since it was closed, and when the last one was. */
  read() {
    return { handled, lastAt };
  }
}

/** Calls `send` as often as asked, some at once; how long all of it took, in milliseconds. */
async function timed(count, atOnce, send) {
  const begun = Date.now();
  let left = count;
  const one = async () => {
    while (left-- > 0) await send();
  };
  await Promise.all(Array.from({ length: atOnce }, one));
  return Response.json(Date.now() - begun);
}

export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    const [count, atOnce] = ["count", "at_once"].map((name) => Number(searchParams.get(name)));
    switch (pathname) {
      case "/batches":
        return timed(count, atOnce, () => env.QUEUE.sendBatch(BATCH));
      case "/messages":
        return timed(count, atOnce, () => env.QUEUE.send(BODY));
      default:
        return Response.json((await env.COUNTER[pathname.slice(1)]()) ?? null);
    }
  },
  async queue(batch) {
    while (!gate.isOpen) await scheduler.wait(5);
    handled += batch.messages.length;
    lastAt = Date.now();
  },
};
