// A worker that does harm, one kind for each path, and one that only wants to do its work.

const MiB = 1024 * 1024;
const forever = () => {
  for (;;);
};
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const recursion = () => recursion() + 1;

const ENDLESS_SQL =
  "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers) SELECT count(*) FROM numbers";

const HARM = {
  "endless-loop": forever,
  "catastrophic-regular-expression": () => /^(a+)+$/.test(`${"a".repeat(60)}!`),
  "promises-without-end": async () => {
    for (;;) await undefined;
  },
  // Only a text that is used is really made.
  "ten-gigabytes-of-text": () => {
    const text = [];
    for (let i = 0; i < 1_280; i++) text.push(JSON.stringify(`${i}`.padEnd(8 * MiB, "x")));
    return text.join("");
  },
  recursion,
  "a-million-timers": async () => {
    for (let i = 0; i < 1_000_000; i++) setTimeout(() => {}, i % 1_000);
    await wait(1_000);
  },
  "response-without-end": () =>
    new ReadableStream({
      async pull(controller) {
        await wait(50);
        controller.enqueue(new Uint8Array(1_000));
      },
    }),
  "ten-thousand-subrequests": async (env, host) => {
    const calls = Array.from({ length: 10_000 }, () =>
      fetch(`http://${host}/fine`).then((response) => response.text()),
    );
    const ends = await Promise.allSettled(calls);
    const refused = ends.find(({ status }) => status === "rejected");
    return refused ? refused.reason.message : "all done";
  },
  "sql-without-end": (env) => env.DB.prepare(ENDLESS_SQL).all(),
  "consumer-that-never-returns": (env) => env.QUEUE.send("message"),
};

const WORK = {
  plain: () => "done",
  kv: (env) => env.KV.get("key"),
  d1: (env) => env.DB.prepare("SELECT 'done'").first("'done'"),
};

export default {
  async fetch(request, env) {
    const { pathname, host } = new URL(request.url);
    const deed = pathname.slice(1);
    if (deed === "fine") return new Response("fine");
    const result = await (WORK[deed] ?? HARM[deed])(env, host);
    return new Response(result);
  },
  // A promise that nothing can resolve would be noticed by the runtime.
  queue: () => wait(3_600_000),
};
