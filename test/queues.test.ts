import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Platform, startPlatform } from "./harness/platform.ts";
import { killExecutors, until } from "./harness/processes.ts";
import {
  account,
  backlogCount,
  createDatabase,
  createQueue,
  deployQueueWorker,
  query,
} from "./harness/queue.ts";

// How a queue treats its consumer, seen by a worker that does what messages ask for and writes down
// what it was given.
const CODE = readFileSync(join(import.meta.dirname, "workers/consumer/index.js"), "utf8");
const SECOND = 1000;

let platform: Platform;
let databaseId: string;
let expiring: Line;
let expiringSince: number;

beforeAll(async () => {
  platform = await startPlatform();
  databaseId = await createDatabase(platform, "deliveries");
  await query(
    platform,
    databaseId,
    "CREATE TABLE deliveries (queue, batch, key, id, attempts, sent_at, at, version, batches)",
  );
  // The shortest time that Cloudflare allows is a minute: it runs while the other tests do.
  expiring = await makeLine();
  const settings = { message_retention_period: 60, delivery_paused: true };
  await account(platform, "PATCH", `/queues/${expiring.queueId}`, { settings });
  expiringSince = Date.now();
  await expiring.send({ key: "old" });
  expect(await expiring.backlog()).toBe(1);
});

afterAll(() => platform?.stop());

/** A message as the consumer understands it. */
interface Order {
  key: string;
  /** What to do with it at its first delivery, in this order. */
  say?: string[];
  /** Does so at each delivery. */
  always?: boolean;
  delaySeconds?: number;
}

interface Delivery {
  /** Same for all messages of one batch. */
  batch: string;
  key: string;
  id: string;
  attempts: number;
  /** Milliseconds since 1970. */
  sent_at: number;
  at: number;
  version: string | null;
  /** Which batch of its isolate it came in, from 1. */
  batches: number;
}

/** A queue and a worker of the same name that sends to it and takes its messages. */
interface Line {
  name: string;
  queueId: string;
  /** In one batch. */
  send(...orders: Order[]): Promise<void>;
  deliveries(): Promise<Delivery[]>;
  backlog(): Promise<number>;
  /** Waits until no message is left, and gives what was delivered. */
  finished(): Promise<Delivery[]>;
  deploy(changes?: Partial<LineOptions>): Promise<void>;
}

interface LineOptions {
  settings: Record<string, number>;
  deadLetterQueue: string;
  isolation: "request" | "shared";
  code: string;
  version: string;
}

let lines = 0;

async function makeLine(options: Partial<LineOptions> = {}): Promise<Line> {
  const name = `line-${++lines}`;
  const queueId = await createQueue(platform, name);
  const deploy = (changes: Partial<LineOptions>, consumes: boolean): Promise<void> => {
    const { settings = {}, deadLetterQueue, isolation = "shared", code = CODE, version } = changes;
    const consumer = {
      queueId,
      settings: { max_wait_time_ms: 0, ...settings },
      ...(deadLetterQueue && { deadLetterQueue }),
    };
    return deployQueueWorker(platform, {
      name,
      code,
      isolation,
      bindings: [
        { type: "queue", name: "QUEUE", queue_name: name },
        { type: "d1", name: "DB", id: databaseId },
        ...(version ? [{ type: "plain_text", name: "VERSION", text: version }] : []),
      ],
      consumes: consumes ? [consumer] : [],
    });
  };
  await deploy(options, true);

  const deliveries = (): Promise<Delivery[]> =>
    query(platform, databaseId, `SELECT * FROM deliveries WHERE queue = '${name}' ORDER BY rowid`);
  const backlog = (): Promise<number> => backlogCount(platform, queueId);
  return {
    name,
    queueId,
    async send(...orders) {
      const messages = orders.map(({ delaySeconds, ...body }) => ({ body, delaySeconds }));
      const body = JSON.stringify({ messages });
      const init = { method: "POST", body };
      const response = await platform.fetchHost(`${name}.dev.localhost`, "/", init);
      expect(response.status, await response.text()).toBe(200);
    },
    deliveries,
    backlog,
    async finished() {
      await until(async () => (await backlog()) === 0, 20_000);
      return deliveries();
    },
    deploy: (changes = {}) => deploy({ ...options, ...changes }, false),
  };
}

/** How often each message was delivered. */
function timesByKey(deliveries: Delivery[]): Record<string, number> {
  const times: Record<string, number> = {};
  for (const { key } of deliveries) times[key] = (times[key] ?? 0) + 1;
  return times;
}

/** Milliseconds between the first and the second delivery of the message. */
function pauseOf(deliveries: Delivery[], key: string): number {
  const [first, second] = deliveries.filter((delivery) => delivery.key === key);
  if (!first || !second) throw new Error(`${key} was not delivered twice`);
  return second.at - first.at;
}

describe("windows", () => {
  it("delivers a batch at once when it is full, else when max_batch_timeout is over", async () => {
    const line = await makeLine({ settings: { batch_size: 3, max_wait_time_ms: 2_000 } });
    await line.send({ key: "a" }, { key: "b" }, { key: "c" });
    const full = await line.finished();
    expect(new Set(full.map(({ batch }) => batch)).size).toBe(1);
    expect(full.map(({ key }) => key)).toEqual(["a", "b", "c"]);
    for (const { at, sent_at } of full) expect(at - sent_at).toBeLessThan(1_500);

    await line.send({ key: "d" });
    await sleep(SECOND);
    await line.send({ key: "e" });
    const partial = (await line.finished()).slice(3);
    expect(new Set(partial.map(({ batch }) => batch)).size).toBe(1);
    const [d, e] = partial as [Delivery, Delivery];
    expect(d.at - d.sent_at).toBeGreaterThanOrEqual(1_990);
    expect(d.at - d.sent_at).toBeLessThan(3_500);
    expect(e.at - e.sent_at).toBeLessThan(2_000);
  });

  it("delivers no more than max_batch_size at a time", async () => {
    const line = await makeLine({ settings: { batch_size: 4, max_wait_time_ms: 500 } });
    await line.send(...Array.from({ length: 10 }, (_, i) => ({ key: `${i}` })));
    const sizes = Object.values(Object.groupBy(await line.finished(), ({ batch }) => batch));
    expect(sizes.map((batch) => batch?.length).sort()).toEqual([2, 4, 4]);
  });

  it("holds messages back for their delay, or else for the queue's", async () => {
    const line = await makeLine();
    const settings = { delivery_delay: 2 };
    await account(platform, "PATCH", `/queues/${line.queueId}`, { settings });
    await line.send(
      { key: "queue's" },
      { key: "own", delaySeconds: 1 },
      { key: "none", delaySeconds: 0 },
    );
    const waits = (await line.finished()).map(({ key, at, sent_at }) => [
      key,
      Math.floor((at - sent_at) / SECOND),
    ]);
    expect(waits).toEqual([
      ["none", 0],
      ["own", 1],
      ["queue's", 2],
    ]);
  });
});

describe("what a handler says", () => {
  // One batch of three; what a, b and c ask for, and how often each is delivered then.
  const rules: [name: string, say: [a: string[], b: string[], c: string[]], times: number[]][] = [
    ["acknowledges all when it returns", [[], [], []], [1, 1, 1]],
    ["retries one message", [["ack"], ["retry"], []], [1, 2, 1]],
    ["retries all when it throws", [[], [], ["throw"]], [2, 2, 2]],
    ["keeps what was acknowledged before it throws", [["ack"], [], ["throw"]], [1, 2, 2]],
    ["keeps ackAll although it throws", [[], [], ["ackAll", "throw"]], [1, 1, 1]],
    [
      "retries all by retryAll, but not what was acknowledged",
      [["ack"], [], ["retryAll"]],
      [1, 2, 2],
    ],
    [
      "acknowledges all by ackAll, but not what is to be retried",
      [["retry"], [], ["ackAll"]],
      [2, 1, 1],
    ],
    ["counts the first word on a message", [["ack", "retry"], ["retry", "ack"], []], [1, 2, 1]],
    ["counts no ack after retryAll", [["retryAll"], ["ack"], []], [2, 2, 2]],
    ["counts no retry after ackAll", [["ackAll"], ["retry"], []], [1, 1, 1]],
    ["counts the first word on a batch", [["retryAll", "ackAll"], [], []], [2, 2, 2]],
    ["retries all when what it left to waitUntil fails", [["ack"], [], ["waitUntil"]], [1, 2, 2]],
  ];
  it.each(rules)("%s", async (_name, [a, b, c], times) => {
    const line = await makeLine({ settings: { batch_size: 3, max_wait_time_ms: 300 } });
    await line.send({ key: "a", say: a }, { key: "b", say: b }, { key: "c", say: c });
    const deliveries = await line.finished();
    expect(Object.values(timesByKey(deliveries))).toEqual(times);
    // Each is counted from 1.
    const attempts = deliveries.filter(({ key }) => key === "b").map((each) => each.attempts);
    expect(attempts).toEqual(times[1] === 1 ? [1] : [1, 2]);
  });

  it("waits with a retry as its message, its batch or the consumer says", async () => {
    const settings = { batch_size: 2, max_wait_time_ms: 300, retry_delay: 2 };
    const line = await makeLine({ settings });
    await line.send({ key: "consumer's", say: ["retry"] }, { key: "message's", say: ["retry:1"] });
    await line.send({ key: "batch's", say: [] }, { key: "own", say: ["retry:2", "retryAll:1"] });
    const deliveries = await line.finished();
    const seconds = (key: string): number => Math.floor(pauseOf(deliveries, key) / SECOND);
    expect(["consumer's", "message's", "batch's", "own"].map(seconds)).toEqual([2, 1, 1, 2]);
  });
});

describe("messages that cannot be handled", () => {
  it("go to the dead letter queue after max_retries, as they were sent", async () => {
    const dead = await makeLine();
    const settings = { max_retries: 2 };
    const line = await makeLine({ settings, deadLetterQueue: dead.name });
    await line.send({ key: "bad", say: ["throw"], always: true }, { key: "good" });
    await until(async () => (await dead.deliveries()).length > 0, 10_000);
    const tries = (await line.finished()).filter(({ key }) => key === "bad");
    expect(tries.map(({ attempts }) => attempts)).toEqual([1, 2, 3]);
    const [arrived] = await dead.finished();
    const { id, sent_at } = tries[0] as Delivery;
    expect(arrived).toMatchObject({ key: "bad", id, sent_at, attempts: 1 });
  });

  it("are dropped after max_retries without a dead letter queue", async () => {
    const line = await makeLine({ settings: { max_retries: 0 } });
    await line.send({ key: "bad", say: ["retry"], always: true });
    expect(await line.finished()).toHaveLength(1);
    const said = new RegExp(`"messages_dropped".*"${line.name}"`);
    await until(() => said.test(platform.output()), 5_000);
  });

  it("wait in their queue until a missing dead letter queue is made", async () => {
    const settings = { max_retries: 0, batch_size: 1 };
    const line = await makeLine({ settings, deadLetterQueue: "made-later" });
    await line.send({ key: "bad", say: ["throw"], always: true }, { key: "good" });
    const said = new RegExp(`"dead_letter_queue_missing".*"${line.name}"`, "g");
    await until(() => platform.output().match(said) !== null, 10_000);
    await until(async () => (await line.backlog()) === 1, 10_000);

    const deadId = await createQueue(platform, "made-later");
    await until(async () => (await backlogCount(platform, deadId)) === 1, 10_000);
    expect(timesByKey(await line.finished())).toEqual({ bad: 1, good: 1 });
    expect(platform.output().match(said)).toHaveLength(1);
  });

  it("come back from a dead letter queue as new ones", async () => {
    const deadId = await createQueue(platform, "put-aside");
    const line = await makeLine({ settings: { max_retries: 0 }, deadLetterQueue: "put-aside" });
    // Fails once, as a consumer does that has been corrected since.
    await line.send({ key: "a", say: ["throw"] }, { key: "b" });
    await until(async () => (await backlogCount(platform, deadId)) === 2, 10_000);
    await line.deploy({ code: CODE.replaceAll(`case "throw":`, `case "throw": return;`) });
    const moved = await account(platform, "POST", `/mayfly/queues/${deadId}/redrive`, {
      queue_name: line.name,
    });
    expect(moved).toEqual({ moved: 2 });
    expect(await backlogCount(platform, deadId)).toBe(0);
    const deliveries = await line.finished();
    expect(timesByKey(deliveries)).toEqual({ a: 2, b: 2 });
    expect(deliveries.every(({ attempts }) => attempts === 1)).toBe(true);
  });
});

describe("batches at once", () => {
  // Each is held for so long that others would overlap with it.
  const HOLD_MS = 400;
  const burst = Array.from({ length: 12 }, (_, i) => ({ key: `${i}`, say: [`hold:${HOLD_MS}`] }));

  /** The most batches that were held at one time. */
  function most(deliveries: Delivery[]): number {
    return Math.max(
      ...deliveries.map(
        ({ at }) => deliveries.filter((other) => at >= other.at && at < other.at + HOLD_MS).length,
      ),
    );
  }

  it("are never more than max_concurrency, also in a burst", async () => {
    const line = await makeLine({ settings: { batch_size: 1, max_concurrency: 2 } });
    await Promise.all([line.send(...burst.slice(0, 6)), line.send(...burst.slice(6))]);
    const deliveries = await line.finished();
    expect(deliveries).toHaveLength(burst.length);
    expect(most(deliveries)).toBe(2);
  });

  it("grow with the backlog without max_concurrency", async () => {
    const line = await makeLine({ settings: { batch_size: 1 } });
    await line.send(...burst);
    expect(most(await line.finished())).toBeGreaterThan(3);
  });
});

describe("the consumer", () => {
  it("gets the next batch in its new version, after a rollback in its old one", async () => {
    const line = await makeLine({ version: "1" });
    await line.send({ key: "a" });
    await line.finished();
    await line.deploy({ version: "2" });
    await line.send({ key: "b" });
    const versions = (await line.finished()).map(({ key, version }) => [key, version]);
    expect(versions).toEqual([
      ["a", "1"],
      ["b", "2"],
    ]);

    await rollBack(line.name);
    await line.send({ key: "c" });
    expect((await line.finished()).at(-1)).toMatchObject({ key: "c", version: "1" });
  });

  it("fails as it would by throwing when its version has no queue handler", async () => {
    const deadId = await createQueue(platform, "no-handler");
    const name = "without-handler";
    const queueId = await createQueue(platform, name);
    const bindings = [{ type: "queue", name: "QUEUE", queue_name: name }];
    const worker = { name, isolation: "shared", bindings } as const;
    const code = CODE.replace("queue: consume", "");
    await deployQueueWorker(platform, { ...worker, code });
    const settings = { max_wait_time_ms: 0, max_retries: 1 };
    const consumes = [{ queueId, settings, deadLetterQueue: "no-handler" }];
    await deployQueueWorker(platform, { ...worker, code: CODE, consumes });
    await rollBack(name);
    await account(platform, "POST", `/queues/${queueId}/messages`, { body: { key: "a" } });
    await until(async () => (await backlogCount(platform, deadId)) === 1, 10_000);
    await until(() => platform.output().includes("does not export a queue() function."), 5_000);
  });

  it.each(["shared", "request"] as const)("runs in isolates of kind %s", async (isolation) => {
    const line = await makeLine({ isolation, settings: { batch_size: 1, max_concurrency: 1 } });
    const count = platform.executors + 1;
    await line.send(...Array.from({ length: count }, (_, index) => ({ key: `${index}` })));
    // One isolate in each executor has them all, or each has its own.
    const batches = (await line.finished()).map((delivery) => delivery.batches);
    expect(batches).toHaveLength(count);
    expect(Math.max(...batches)).toBe(isolation === "shared" ? 2 : 1);
  });

  it("may be a class", async () => {
    const code = CODE.replace(
      /export default .*/,
      `import { WorkerEntrypoint } from "cloudflare:workers";
      export default class extends WorkerEntrypoint {
        fetch(request) { return send(request, this.env); }
        queue(batch) { return consume(batch, this.env, this.ctx); }
      }`,
    );
    const line = await makeLine({ code });
    await line.send({ key: "a", say: ["waitUntil"] });
    expect(timesByKey(await line.finished())).toEqual({ a: 2 });
  });

  it("gets each message with the body and the type it was sent with", async () => {
    const code = `
      const show = (body) => [Object.prototype.toString.call(body), body instanceof ArrayBuffer
        ? [...new Uint8Array(body)] : body instanceof Map ? [...body] : body];
      export default {
        async fetch(request, env) {
          await env.QUEUE.send({ a: [1, null] });
          await env.QUEUE.sendBatch([
            { body: "täxt", contentType: "text" },
            { body: new Uint8Array([9, 1, 2]).subarray(1), contentType: "bytes" },
            { body: new Map([[1, new Date(0)]]), contentType: "v8" },
          ]);
          return new Response();
        },
        async queue(batch, env) {
          const { metrics } = batch.metadata;
          const rows = batch.messages.map(({ id, body, attempts }) =>
            env.DB.prepare("INSERT INTO deliveries (queue, id, key, batch, attempts) VALUES (?, ?, ?, ?, ?)")
              .bind(batch.queue, id, JSON.stringify(show(body)), JSON.stringify(metrics), attempts));
          await env.DB.batch(rows);
        },
      };`;
    const line = await makeLine({ code, settings: { batch_size: 4, max_wait_time_ms: 5_000 } });
    await platform.fetchHost(`${line.name}.dev.localhost`);
    const deliveries = await line.finished();
    expect(deliveries.map(({ key }) => JSON.parse(key) as unknown)).toEqual([
      ["[object Object]", { a: [1, null] }],
      ["[object String]", "täxt"],
      ["[object ArrayBuffer]", [1, 2]],
      ["[object Map]", [[1, new Date(0).toISOString()]]],
    ]);
    for (const { id } of deliveries) expect(id).toMatch(/^[0-9a-f]{32}$/);
    const metrics = JSON.parse(deliveries[0]?.batch ?? "") as Record<string, unknown>;
    expect(metrics).toMatchObject({ backlogCount: 4 });
    expect(Date.parse(String(metrics["oldestMessageTimestamp"]))).toBeGreaterThan(0);
  });

  it("gets a batch again that the end of its process has cut short, not counted as failed", async () => {
    const line = await makeLine({ settings: { max_retries: 0 } });
    await line.send({ key: "a", say: ["hold:60000"] });
    await until(async () => (await line.deliveries()).length === 1, 10_000);
    killExecutors(platform);
    // The API is reached through the process that is being started again.
    await until(() => line.backlog().then(Boolean, () => false), 10_000);
    const deliveries = await line.finished();
    expect(deliveries.map(({ attempts }) => attempts)).toEqual([1, 2]);
  });

  it("gets nothing while delivery is paused", async () => {
    const line = await makeLine();
    const pause = (delivery_paused: boolean): Promise<unknown> =>
      account(platform, "PATCH", `/queues/${line.queueId}`, { settings: { delivery_paused } });
    await pause(true);
    await line.send({ key: "a" });
    // Long enough for another queue's to be delivered.
    const other = await makeLine();
    await other.send({ key: "b" });
    await other.finished();
    expect(await line.backlog()).toBe(1);
    expect(await line.deliveries()).toEqual([]);
    await pause(false);
    expect(timesByKey(await line.finished())).toEqual({ a: 1 });
  });

  it("gets nothing of what was purged, not even what it asks to retry", async () => {
    const line = await makeLine({ settings: { batch_size: 1, max_concurrency: 1 } });
    await line.send({ key: "a", say: ["hold:1000", "retry"] }, { key: "b" });
    await until(async () => (await line.deliveries()).length === 1, 10_000);
    const path = `/queues/${line.queueId}/purge`;
    await account(platform, "POST", path, { delete_messages_permanently: true });
    expect(await line.backlog()).toBe(0);
    await line.send({ key: "c" });
    expect(timesByKey(await line.finished())).toEqual({ a: 1, c: 1 });
  });
});

describe("messages in order", () => {
  it("wait for the one before them to be handled, those of other keys do not", async () => {
    // A database's changes are in order for each table.
    const sourceId = await createDatabase(platform, "orders");
    for (const table of ["a", "b"]) {
      await query(platform, sourceId, `CREATE TABLE ${table} (n INTEGER)`);
    }
    const code = CODE.replace(
      "export async function consume(batch, env, ctx) {",
      `export async function consume(batch, env, ctx) {
        for (const { body } of batch.messages) {
          body.key = body.table + body.new.n;
          body.say = body.key === "a2" ? ["retry:1"] : [];
        }`,
    );
    const line = await makeLine({ code, settings: { batch_size: 2, max_wait_time_ms: 0 } });
    for (const table of ["a", "b"]) {
      await account(platform, "POST", "/mayfly/database-subscriptions", {
        database_id: sourceId,
        table,
        queue_name: line.name,
      });
    }
    const rows = "VALUES (1), (2), (3), (4), (5), (6), (7)";
    await query(platform, sourceId, `INSERT INTO a ${rows}; INSERT INTO b ${rows}`);
    await until(async () => (await line.deliveries()).length === 15, 10_000);
    const keys = (await line.finished()).map(({ key }) => key);
    const of = (table: string): string[] => keys.filter((key) => key.startsWith(table));
    expect(of("a")).toEqual(["a1", "a2", "a2", "a3", "a4", "a5", "a6", "a7"]);
    expect(of("b")).toEqual(["b1", "b2", "b3", "b4", "b5", "b6", "b7"]);
    expect(keys.indexOf("b7")).toBeLessThan(keys.lastIndexOf("a2"));
  });
});

/** Deploys the version before the deployed one again. */
async function rollBack(script: string): Promise<void> {
  const path = `/workers/scripts/${script}/deployments`;
  interface Deployments {
    deployments: { versions: { version_id: string }[] }[];
  }
  const { deployments } = await account<Deployments>(platform, "GET", path);
  const version_id = deployments[1]?.versions[0]?.version_id;
  const versions = [{ version_id, percentage: 100 }];
  await account(platform, "POST", path, { strategy: "percentage", versions });
}

it("puts aside a message that ends its process each time, and nothing else of its batch", async () => {
  const dead = await makeLine();
  const line = await makeLine({
    settings: { batch_size: 2, max_wait_time_ms: 200 },
    deadLetterQueue: dead.name,
  });
  await line.send({ key: "bad", say: ["hold:60000"], always: true }, { key: "good" });
  const times = async (): Promise<number> => timesByKey(await line.deliveries())["bad"] ?? 0;
  const tries = 6;
  for (let n = 1; n <= tries; n++) {
    await until(
      () =>
        times().then(
          (count) => count >= n,
          () => false,
        ),
      30_000,
    );
    killExecutors(platform);
    await until(
      () =>
        line.backlog().then(
          () => true,
          () => false,
        ),
      10_000,
    );
  }
  await until(async () => (await dead.deliveries()).length > 0, 10_000);
  expect((await dead.deliveries()).map(({ key }) => key)).toEqual(["bad"]);
  expect(timesByKey(await line.finished())["bad"]).toBe(tries);
});

// Late, since most of its minute has passed by now.
it("drops messages when message_retention_period is over", { timeout: 90_000 }, async () => {
  const dropped = new RegExp(`"at":"([^"]*)".*"messages_dropped".*"${expiring.name}"`);
  await until(() => dropped.test(platform.output()), 70_000);
  const afterMs = Date.parse(dropped.exec(platform.output())?.[1] ?? "") - expiringSince;
  expect(afterMs).toBeGreaterThanOrEqual(60_000);
  expect(afterMs).toBeLessThan(65_000);
  await account(platform, "PATCH", `/queues/${expiring.queueId}`, {
    settings: { delivery_paused: false },
  });
  await expiring.send({ key: "new" });
  expect(timesByKey(await expiring.finished())).toEqual({ new: 1 });
});

// Last, since it ends the platform.
it("goes on by itself after the whole platform was killed", async () => {
  const line = await makeLine({ settings: { batch_size: 1, max_concurrency: 1, max_retries: 0 } });
  await line.send({ key: "held", say: ["hold:60000"] }, { key: "next" });
  await line.send({ key: "later", delaySeconds: 3 });
  await until(async () => (await line.deliveries()).length === 1, 10_000);
  await platform.kill();
  platform = await startPlatform({ dataDir: platform.dataDir });
  // Only the table is looked at: nobody wakes the queue.
  await until(async () => (await line.deliveries()).length === 4, 20_000);
  const deliveries = (await line.deliveries()).map(({ key, attempts }) => `${key} ${attempts}`);
  expect(deliveries).toEqual(["held 1", "held 2", "next 1", "later 1"]);
});
