// Does to its process what the path says.

/** Keeps the thread for so long. */
function compute(ms) {
  const end = Date.now() + ms;
  while (Date.now() < end);
}

const recursion = () => recursion() + 1;

const DEEDS = {
  good: () => {},
  wait: (ms) => scheduler.wait(ms),
  compute,
  "loop-at-once": () => compute(Infinity),
  "loop-after-an-await": async () => {
    await scheduler.wait(20);
    compute(Infinity);
  },
  "loop-after-the-response": (_, ctx) => {
    ctx.waitUntil(scheduler.wait(20).then(() => compute(Infinity)));
  },
  "catastrophic-regular-expression": () => /^(a+)+$/.test(`${"a".repeat(60)}!`),
  "promises-without-end": async () => {
    for (;;) await undefined;
  },
  "calls-of-itself-without-end": async (_, ctx) => {
    for (;;) await ctx.exports.default.fetch("http://itself/good");
  },
  "a-million-timers": async () => {
    let due = 0;
    for (let i = 0; i < 1_000_000; i++) setTimeout(() => due++, 0);
    await scheduler.wait(1);
    if (due === 0) throw new Error("no timer was due");
  },
  recursion,
};

export default {
  async fetch(request, env, ctx) {
    const [, deed, ms] = new URL(request.url).pathname.split("/");
    await DEEDS[deed](Number(ms), ctx);
    return new Response(request.headers.get("cf-ray"));
  },
  async queue(batch, env) {
    for (const { body } of batch.messages) {
      if (body === "loop") compute(Infinity);
      await env.KV?.put(String(body), batch.queue);
    }
  },
  scheduled: () => compute(Infinity),
};
