import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { childrenOf, pidOf, residentMiB, until } from "./harness/processes.ts";
import {
  account,
  backlogCount,
  createDatabase,
  createQueue,
  deployQueueWorker,
  query,
  type QueueWorker,
} from "./harness/queue.ts";

let platform: Platform;
let databaseId: string;
beforeAll(async () => {
  // The memory of one executor is looked at, so it must be the one that works.
  platform = await startPlatform({ env: { MAYFLY_EXECUTORS: "1" } });
  databaseId = await createDatabase(platform, "results");
});
afterAll(() => platform.stop());

/** Makes a queue and a worker of the same name that sends to it and consumes it. */
async function deploy(
  name: string,
  code: string,
  isolation: QueueWorker["isolation"],
  settings: Record<string, number>,
): Promise<string> {
  const queueId = await createQueue(platform, name);
  await deployQueueWorker(platform, {
    name,
    code,
    isolation,
    bindings: [
      { type: "queue", name: "QUEUE", queue_name: name },
      { type: "d1", name: "DB", id: databaseId },
    ],
    consumes: [{ queueId, settings }],
  });
  return queueId;
}

/** Calls the worker; throws if it does not answer with 200. */
async function call(name: string, path = "/"): Promise<void> {
  const response = await platform.fetchHost(`${name}.dev.localhost`, path);
  const text = await response.text();
  if (!response.ok) throw new Error(`${name}${path}: ${response.status} ${text}`);
}

const MESSAGES = 100_000;
const BODY_BYTES = 2_000;
const PER_CALL = 2_000;
// The garbage that V8 leaves lying comes to 150 MiB, no more for four times as many messages. A process
// that held the backlog would have its 190 MiB of bodies on top of that.
const MAX_GROWTH_MIB = 225;

it(
  "a hundred thousand messages are taken in and worked off in flat memory",
  { timeout: 240_000 },
  async () => {
    const code = `
    const text = "x".repeat(${BODY_BYTES});
    export default {
      async fetch(request, env) {
        const first = Number(new URL(request.url).searchParams.get("first"));
        for (let n = first; n < first + ${PER_CALL}; n += 100) {
          const numbers = Array.from({ length: 100 }, (_, i) => n + i);
          await env.QUEUE.sendBatch(numbers.map((number) => ({ body: { number, text } })));
        }
        return new Response("sent");
      },
      async queue(batch, env) {
        const numbers = batch.messages.map(({ body }) => body.number);
        await env.DB.prepare(
          "INSERT INTO flood SELECT value, 1 FROM json_each(?) WHERE true ON CONFLICT DO UPDATE SET times = times + 1",
        ).bind(JSON.stringify(numbers)).run();
      },
    };`;
    await query(
      platform,
      databaseId,
      "CREATE TABLE flood (number INTEGER PRIMARY KEY, times INTEGER)",
    );
    const queueId = await deploy("flood", code, "shared", { batch_size: 100, max_wait_time_ms: 0 });
    const pause = (delivery_paused: boolean): Promise<unknown> =>
      account(platform, "PATCH", `/queues/${queueId}`, { settings: { delivery_paused } });
    await pause(true);

    const [state = 0] = childrenOf(pidOf(platform, "state"));
    const executor = pidOf(platform, "executor-1");
    const samples: { state: number; executor: number }[] = [];
    const sampler = setInterval(() => {
      samples.push({ state: residentMiB(state), executor: residentMiB(executor) });
    }, 200);
    const begun = Date.now();
    const calls = Array.from({ length: MESSAGES / PER_CALL }, (_, i) => `/?first=${i * PER_CALL}`);
    const sender = async (): Promise<void> => {
      for (let path = calls.shift(); path; path = calls.shift()) await call("flood", path);
    };
    await Promise.all([sender(), sender()]);
    const takenInMs = Date.now() - begun;
    expect(await backlogCount(platform, queueId)).toBe(MESSAGES);

    await pause(false);
    await until(async () => (await backlogCount(platform, queueId)) === 0, 120_000);
    clearInterval(sampler);
    const workedOffMs = Date.now() - begun - takenInMs;
    const [result] = await query<{ numbers: number; times: number }>(
      platform,
      databaseId,
      "SELECT count(*) AS numbers, sum(times) AS times FROM flood",
    );
    const grown = (process: "state" | "executor"): number =>
      Math.max(...samples.map((sample) => sample[process])) - (samples[0]?.[process] ?? 0);
    console.log(
      `${MESSAGES} messages: taken in within ${takenInMs} ms, worked off within ${workedOffMs} ms, ` +
        `state grew by ${grown("state").toFixed()} MiB, the executor by ${grown("executor").toFixed()} MiB`,
    );
    expect(result).toEqual({ numbers: MESSAGES, times: MESSAGES });
    expect(grown("state")).toBeLessThan(MAX_GROWTH_MIB);
    expect(grown("executor")).toBeLessThan(MAX_GROWTH_MIB);
  },
);

it("a consumer that throws, asks for a retry or acknowledges a part now and then loses nothing", async () => {
  // Only what is acknowledged is written down, so it is lost if it does not come again.
  const code = `
    export default {
      async fetch(request, env) {
        for (let n = 0; n < 1000; n += 100) {
          const numbers = Array.from({ length: 100 }, (_, i) => n + i);
          await env.QUEUE.sendBatch(numbers.map((body) => ({ body })));
        }
        return new Response("sent");
      },
      async queue(batch, env) {
        const mood = Math.random();
        if (mood < 0.15) throw new Error("not in the mood");
        if (mood < 0.3) return batch.retryAll();
        const done = mood < 0.6 ? batch.messages : batch.messages.filter(() => Math.random() < 0.5);
        const numbers = JSON.stringify(done.map(({ body }) => body));
        await env.DB.prepare("INSERT INTO flaky SELECT value FROM json_each(?)").bind(numbers).run();
        for (const message of batch.messages) {
          if (done.includes(message)) message.ack();
          else message.retry();
        }
        if (mood > 0.9) throw new Error("too late: what was said counts");
      },
    };`;
  await query(platform, databaseId, "CREATE TABLE flaky (number INTEGER)");
  // So many retries that giving up a message is out of the question.
  const queueId = await deploy("flaky", code, "request", {
    batch_size: 25,
    max_wait_time_ms: 0,
    max_retries: 100,
  });
  await call("flaky");
  await until(async () => (await backlogCount(platform, queueId)) === 0, 30_000);
  const [result] = await query(
    platform,
    databaseId,
    "SELECT count(*) AS times, count(DISTINCT number) AS numbers FROM flaky",
  );
  expect(result).toEqual({ numbers: 1000, times: 1000 });
});

describe("a queue is as quick as it is alone", () => {
  const SAMPLES = 100;
  const settings = { batch_size: 10, max_wait_time_ms: 0 };

  beforeAll(async () => {
    await query(platform, databaseId, "CREATE TABLE latencies (round TEXT, ms INTEGER)");
    const code = `
      export default {
        async fetch(request, env) {
          const round = new URL(request.url).searchParams.get("round");
          await env.QUEUE.send({ round, sentAt: Date.now() });
          return new Response("sent");
        },
        async queue(batch, env) {
          const now = Date.now();
          const rows = batch.messages.map(({ body }) => [body.round, now - body.sentAt]);
          await env.DB.prepare(
            "INSERT INTO latencies SELECT value ->> 0, value ->> 1 FROM json_each(?)",
          ).bind(JSON.stringify(rows)).run();
        },
      };`;
    await deploy("quiet", code, "request", settings);
    await measure("warm-up");
  });

  /** Milliseconds from `send` to the handler, of messages that come one by one. */
  async function measure(round: string): Promise<{ p50: number; p95: number }> {
    for (let sent = 0; sent < SAMPLES; sent++) {
      await call("quiet", `/?round=${round}`);
      await sleep(10);
    }
    const sql = `SELECT ms FROM latencies WHERE round = '${round}' ORDER BY ms`;
    let rows: { ms: number }[] = [];
    await until(async () => {
      rows = await query(platform, databaseId, sql);
      return rows.length === SAMPLES;
    }, 30_000);
    const [p50 = Infinity, p95 = Infinity] = [0.5, 0.95].map((share) => rows[SAMPLES * share]?.ms);
    return { p50, p95 };
  }

  it.each([
    ["throws", `throw new Error("as always");`],
    ["retries", `batch.retryAll();`],
    ["sleeps", `await scheduler.wait(2000);`],
    ["hangs", `await new Promise((resolve) => setTimeout(resolve, 2 ** 31 - 1));`],
  ])("beside one whose consumer always %s", async (name, handler) => {
    const noisy = `
      export default {
        async fetch(request, env) {
          for (let n = 0; n < 20; n++) {
            await env.QUEUE.sendBatch(Array.from({ length: 100 }, () => ({ body: "noise" })));
          }
          return new Response("sent");
        },
        async queue(batch) { ${handler} },
      };`;
    const alone = await measure(`before-${name}`);
    const queueId = await deploy(name, noisy, "request", { ...settings, max_retries: 100 });
    await call(name);
    const beside = await measure(name);
    // It had enough to do all the while.
    expect(await backlogCount(platform, queueId)).toBeGreaterThan(100);
    // The next one is to be measured beside its own neighbour only.
    await account(platform, "PATCH", `/queues/${queueId}`, { settings: { delivery_paused: true } });

    console.log(`${name}:`, alone, "alone,", beside, "beside it");
    // Generous, since the machine does other things: an unbounded neighbour makes it tens of times.
    expect(beside.p50).toBeLessThan(4 * alone.p50 + 15);
    expect(beside.p95).toBeLessThan(4 * alone.p95 + 100);
  });
});
