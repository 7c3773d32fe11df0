import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callApi, type Answer } from "./harness/api.ts";
import { sendForm } from "./harness/form.ts";
import { type Platform, startPlatform } from "./harness/platform.ts";
import { until } from "./harness/processes.ts";
import { createDatabase, createQueue, deployQueueWorker } from "./harness/queue.ts";

// What Cloudflare documents of the queues API beyond what wrangler calls.
let platform: Platform;

beforeAll(async () => {
  platform = await startPlatform();
});
afterAll(() => platform?.stop());

const call = (method: string, path: string, body?: unknown): Promise<Answer> =>
  callApi(platform, method, `/accounts/${platform.accountId}${path}`, body);

interface Pulled {
  id: string;
  body: string;
  attempts: number;
  timestamp_ms: number;
  lease_id: string;
  metadata: Record<string, string>;
}

async function createPulled(name: string, settings?: Record<string, number>): Promise<string> {
  const id = await createQueue(platform, name);
  const consumer = { type: "http_pull", settings };
  expect(await call("POST", `/queues/${id}/consumers`, consumer)).toMatchObject({ status: 200 });
  return id;
}

async function push(id: string, message: unknown): Promise<void> {
  expect(await call("POST", `/queues/${id}/messages`, message)).toMatchObject({ status: 200 });
}

async function pull(id: string, options: unknown = {}): Promise<Pulled[]> {
  const { status, message, result } = await call("POST", `/queues/${id}/messages/pull`, options);
  expect(status, message).toBe(200);
  return result.messages as Pulled[];
}

/** The first messages that can be had. */
async function pullSome(id: string, options: unknown = {}): Promise<Pulled[]> {
  let messages: Pulled[] = [];
  await until(async () => (messages = await pull(id, options)).length > 0, 10_000);
  return messages;
}

const ack = (id: string, body: unknown): Promise<Answer> =>
  call("POST", `/queues/${id}/messages/ack`, body);

async function backlogCount(id: string): Promise<number> {
  return (await call("GET", `/queues/${id}/metrics`)).result.backlog_count as number;
}

const copies = (length: number, message: unknown): unknown[] =>
  Array.from({ length }, () => message);

const decoded = ({ body }: Pulled): unknown =>
  JSON.parse(Buffer.from(body, "base64").toString()) as unknown;

describe("push", () => {
  it("takes JSON and text, one message or a batch, and tells the backlog", async () => {
    const id = await createPulled("pushed");
    const begun = Date.now();
    const first = await call("POST", `/queues/${id}/messages`, { body: { greeting: "hé" } });
    expect(first.result.metadata.metrics).toEqual({
      backlog_count: 1,
      backlog_bytes: '{"greeting":"hé"}'.length + 1,
      oldest_message_timestamp_ms: expect.any(Number) as number,
    });
    await push(id, { body: "plain", content_type: "text" });
    const batch = { messages: [{ body: null }, { body: [1, 2], content_type: "json" }] };
    const last = await call("POST", `/queues/${id}/messages/batch`, batch);
    expect(last.result.metadata.metrics.backlog_count).toBe(4);

    const messages = await pull(id, { batch_size: 10 });
    expect(messages.map(({ metadata }) => metadata["CF-Content-Type"])).toEqual([
      "json",
      "text",
      "json",
      "json",
    ]);
    expect(messages[1]?.body).toBe("plain");
    expect(messages.filter((_, i) => i !== 1).map(decoded)).toEqual([
      { greeting: "hé" },
      null,
      [1, 2],
    ]);
    for (const { id: messageId, attempts, timestamp_ms, lease_id } of messages) {
      expect(messageId).toMatch(/^[\da-f]{32}$/);
      expect(attempts).toBe(1);
      expect(timestamp_ms).toBeGreaterThanOrEqual(begun - 1);
      expect(lease_id).not.toBe("");
    }
    expect(new Set(messages.map((message) => message.id)).size).toBe(4);
  });

  it("holds messages back for their delay, which goes before the batch's and the queue's", async () => {
    const id = await createPulled("delayed");
    const settings = { delivery_delay: 86_400 };
    expect((await call("PATCH", `/queues/${id}`, { settings })).result.settings).toEqual({
      delivery_delay: 86_400,
      message_retention_period: 345_600,
      delivery_paused: false,
    });
    await push(id, { body: "queue", content_type: "text" });
    await call("POST", `/queues/${id}/messages/batch`, {
      delay_seconds: 1,
      messages: [
        { body: "batch", content_type: "text" },
        { body: "own", content_type: "text", delay_seconds: 0 },
      ],
    });
    const pushedAt = Date.now();
    expect((await pull(id)).map(({ body }) => body)).toEqual(["own"]);
    expect((await pullSome(id)).map(({ body }) => body)).toEqual(["batch"]);
    expect(Date.now() - pushedAt).toBeGreaterThan(800);
    expect(await backlogCount(id)).toBe(3);
  });

  it("reaches a worker, whose messages can be pulled whatever their type", async () => {
    const id = await createQueue(platform, "to-worker");
    const out = await createPulled("from-worker");
    await deployQueueWorker(platform, {
      name: "echo",
      isolation: "shared",
      code: `export default {
        async queue(batch, env) {
          for (const { body } of batch.messages) {
            await env.OUT.sendBatch([
              { body: typeof body + JSON.stringify(body), contentType: "text" },
              { body: new Uint8Array([0, 255]), contentType: "bytes" },
              { body: { when: new Date(0), set: new Set([1]) }, contentType: "v8" },
              { body: 1n, contentType: "v8" },
            ]);
          }
        },
      };`,
      bindings: [{ type: "queue", name: "OUT", queue_name: "from-worker" }],
      consumes: [{ queueId: id, settings: { max_wait_time_ms: 0, batch_size: 1 } }],
    });
    await push(id, { body: { a: 1 } });
    const messages = await pullSome(out, { batch_size: 10 });
    expect(messages.map(({ metadata }) => metadata["CF-Content-Type"])).toEqual([
      "text",
      "bytes",
      "v8",
      "v8",
    ]);
    const [text, bytes, v8, big] = messages as [Pulled, Pulled, Pulled, Pulled];
    expect(text.body).toBe('object{"a":1}');
    expect(bytes.body).toBe("AP8=");
    expect(decoded(v8)).toEqual({ when: new Date(0).toISOString(), set: {} });
    expect(big.body).toBe("");
    await push(id, { body: "text", content_type: "text" });
    expect((await pullSome(out))[0]?.body).toBe('string"text"');
  });

  it.each<[string, unknown, number, string]>([
    ["messages", { body: "x", content_type: "bytes" }, 10_207, 'must be "json" or "text"'],
    ["messages", { body: "x", content_type: "v8" }, 10_207, "content_type"],
    ["messages", { body: 1, content_type: "text" }, 10_207, "body: "],
    ["messages", {}, 10_207, "body: "],
    ["messages", { body: 1, delay_seconds: 86_401 }, 10_207, "delay_seconds: got 86401"],
    ["messages", { body: 1, delay_seconds: -1 }, 10_207, "from 0 to 86400"],
    ["messages", { body: 1, deliver_at: 1 }, 10_207, "deliver_at"],
    ["messages", { body: "x".repeat(128_001), content_type: "text" }, 10_204, "128000"],
    ["messages/batch", { messages: [] }, 10_207, "messages: "],
    ["messages/batch", { messages: copies(101, { body: 1 }) }, 10_206, "100"],
    ["messages/batch", { messages: copies(3, { body: "x".repeat(100_000) }) }, 10_205, "256000"],
    ["messages/batch", { messages: [{ body: 1 }, { body: 1, content_type: "v8" }] }, 10_207, "1"],
  ])("to %s refuses %j with %d", async (path, body, code, message) => {
    refusing ??= await createQueue(platform, "refusing");
    const answer = await call("POST", `/queues/${refusing}/${path}`, body);
    expect(answer).toMatchObject({ code, message: expect.stringContaining(message) as string });
    expect(await backlogCount(refusing)).toBe(0);
  });
  let refusing: string | undefined;

  it("refuses what is no JSON with 10208", async () => {
    const id = await createQueue(platform, "no-json");
    const path = `/accounts/${platform.accountId}/queues/${id}/messages`;
    const response = await platform.fetchApi(path, { method: "POST", body: "{body" });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ errors: [{ code: 10_208 }] });
  });
});

describe("pull", () => {
  it("leases messages for the visibility timeout: others do not get them meanwhile", async () => {
    const id = await createPulled("leased");
    await push(id, { body: 1 });
    const pulledAt = Date.now();
    const [first] = await pull(id, { visibility_timeout_ms: 1_500 });
    expect(await pull(id)).toEqual([]);
    const [second] = await pullSome(id, { visibility_timeout: 60_000 });
    expect(Date.now() - pulledAt).toBeGreaterThanOrEqual(1_500);
    expect(second).toMatchObject({ id: first?.id, attempts: 2, timestamp_ms: first?.timestamp_ms });
    expect(second?.lease_id).not.toBe(first?.lease_id);
    // The first lease has ended, the second holds.
    const lease_id = first?.lease_id as string;
    expect((await ack(id, { acks: [{ lease_id }] })).result).toEqual({
      ackCount: 0,
      retryCount: 0,
      warnings: { [lease_id]: expect.stringContaining("lease") as string },
    });
    expect(await backlogCount(id)).toBe(1);
    expect((await ack(id, { acks: [{ lease_id: second?.lease_id }] })).result).toEqual({
      ackCount: 1,
      retryCount: 0,
      warnings: {},
    });
    expect(await backlogCount(id)).toBe(0);
  });

  it("has a retried message back at once, or after its delay", async () => {
    const id = await createPulled("retried", { retry_delay: 0 });
    await call("POST", `/queues/${id}/messages/batch`, {
      messages: [{ body: "now" }, { body: "later" }, { body: "done" }],
    });
    const [now, later, done] = (await pull(id)) as [Pulled, Pulled, Pulled];
    const retriedAt = Date.now();
    const answer = await ack(id, {
      acks: [{ lease_id: done.lease_id }],
      retries: [{ lease_id: now.lease_id }, { lease_id: later.lease_id, delay_seconds: 1 }],
    });
    expect(answer.result).toEqual({ ackCount: 1, retryCount: 2, warnings: {} });
    const again = await pull(id);
    expect(again.map(decoded)).toEqual(["now"]);
    expect(again[0]?.attempts).toBe(2);
    expect((await pullSome(id)).map(decoded)).toEqual(["later"]);
    expect(Date.now() - retriedAt).toBeGreaterThanOrEqual(1_000);
  });

  it("gives as many as asked for, else as the consumer's settings say", async () => {
    const id = await createPulled("counted", { batch_size: 2 });
    await call("POST", `/queues/${id}/messages/batch`, { messages: copies(9, { body: 1 }) });
    expect(await pull(id)).toHaveLength(2);
    expect(await pull(id, { batch_size: 3 })).toHaveLength(3);
    expect(await pull(id, { batch_size: 100 })).toHaveLength(4);
  });

  it("puts a message aside after its last retry, from where redrive brings it back", async () => {
    const id = await createPulled("exhausting", { max_retries: 1 });
    const { result } = await call("GET", `/queues/${id}/consumers`);
    const consumer = `/queues/${id}/consumers/${result[0].consumer_id}`;
    const settings = { max_retries: 1 };
    const type = "http_pull";
    await call("PUT", consumer, { type, dead_letter_queue: "aside", settings });
    await push(id, { body: "bad" });
    const [first] = await pull(id);
    await ack(id, { retries: [{ lease_id: first?.lease_id }] });
    const [second] = await pull(id);
    await ack(id, { retries: [{ lease_id: second?.lease_id }] });
    // The dead letter queue is made after it was needed.
    expect(await pull(id)).toEqual([]);
    expect(await backlogCount(id)).toBe(1);
    const aside = await createQueue(platform, "aside");
    await until(async () => (await backlogCount(aside)) === 1, 10_000);
    expect(await backlogCount(id)).toBe(0);

    const redrive = `/mayfly/queues/${aside}/redrive`;
    expect(await call("POST", redrive, { queue_name: "none" })).toMatchObject({ code: 11_000 });
    expect(await call("POST", redrive, { queue_name: "aside" })).toMatchObject({ code: 10_026 });
    const redriven = await call("POST", redrive, { queue_name: "exhausting" });
    expect(redriven.result).toEqual({ moved: 1 });
    expect(await backlogCount(aside)).toBe(0);
    const [back] = await pullSome(id);
    expect(back).toMatchObject({ id: first?.id, attempts: 1 });
  });

  it("wants an http_pull consumer and a queue that is not paused", async () => {
    const id = await createQueue(platform, "unpulled");
    expect(await call("POST", `/queues/${id}/messages/pull`, {})).toMatchObject({
      status: 400,
      code: 0,
      message: "messages cannot be pulled unless http_pull mode is enabled",
    });
    await call("POST", `/queues/${id}/consumers`, { type: "http_pull" });
    await push(id, { body: 1 });
    await call("PATCH", `/queues/${id}`, { settings: { delivery_paused: true } });
    expect(await call("POST", `/queues/${id}/messages/pull`, {})).toMatchObject({
      status: 409,
      message: "queue_delivery_paused",
    });
    await call("PATCH", `/queues/${id}`, { settings: { delivery_paused: false } });
    expect(await pull(id)).toHaveLength(1);
  });

  it.each<[string, unknown]>([
    ["batch_size", { batch_size: 101 }],
    ["batch_size", { batch_size: 0 }],
    ["visibility_timeout_ms", { visibility_timeout_ms: 43_200_001 }],
    ["visibility_timeout", { visibility_timeout: 1.5 }],
    ["max", { max: 1 }],
  ])("refuses a wrong %s: %j", async (field, options) => {
    pulled ??= await createPulled("pulled-wrong");
    const answer = await call("POST", `/queues/${pulled}/messages/pull`, options);
    expect(answer).toMatchObject({ status: 400, code: 10_207 });
    expect(answer.message).toContain(`${field}: `);
  });
  let pulled: string | undefined;
});

const namesOf = async (query: string): Promise<string[]> =>
  (await call("GET", `/queues?${query}`)).result.map(
    (queue: { queue_name: string }) => queue.queue_name,
  );

describe("a queue", () => {
  it("keeps messages while it is paused and delivers them when resumed", async () => {
    const id = await createQueue(platform, "paused");
    const out = await createPulled("resumed");
    await call("PATCH", `/queues/${id}`, { settings: { delivery_paused: true } });
    await deployQueueWorker(platform, {
      name: "pauser",
      isolation: "shared",
      code: `export default {
        async queue(batch, env) { await env.OUT.send(batch.messages.length); },
      };`,
      bindings: [{ type: "queue", name: "OUT", queue_name: "resumed" }],
      consumes: [{ queueId: id, settings: { batch_size: 10, max_wait_time_ms: 0 } }],
    });
    await push(id, { body: 1 });
    await push(id, { body: 2 });
    expect(await backlogCount(id)).toBe(2);
    expect(await pull(out)).toEqual([]);
    await call("PATCH", `/queues/${id}`, { settings: { delivery_paused: false } });
    expect((await pullSome(out)).map(decoded)).toEqual([2]);
    await until(async () => (await backlogCount(id)) === 0, 10_000);
  });

  it("loses its messages when it is purged, also those leased and delayed", async () => {
    const id = await createPulled("purged");
    expect((await call("GET", `/queues/${id}/purge`)).result).toEqual({});
    await push(id, { body: 1 });
    await push(id, { body: 2, delay_seconds: 60 });
    await pull(id);
    await push(id, { body: 3 });
    const purge = `/queues/${id}/purge`;
    for (const body of [{}, { delete_messages_permanently: false }]) {
      expect(await call("POST", purge, body)).toMatchObject({ status: 400, code: 10_026 });
    }
    expect(await backlogCount(id)).toBe(3);
    const begun = Date.now();
    const { result } = await call("POST", purge, { delete_messages_permanently: true });
    expect(result).toMatchObject({ queue_id: id, queue_name: "purged" });
    expect((await call("GET", `/queues/${id}/metrics`)).result).toEqual({
      backlog_count: 0,
      backlog_bytes: 0,
      oldest_message_timestamp_ms: 0,
    });
    expect(await pull(id)).toEqual([]);
    const status = await call("GET", purge);
    expect(status.result.completed).toBe("true");
    expect(Math.abs(Date.parse(status.result.started_at) - begun)).toBeLessThan(10_000);
    await push(id, { body: "after" });
    expect((await pullSome(id)).map(decoded)).toEqual(["after"]);
  });

  it("has its settings changed one by one by PATCH, as a whole by PUT", async () => {
    const id = await createQueue(platform, "settings");
    const change = async (method: string, settings: unknown): Promise<unknown> =>
      (await call(method, `/queues/${id}`, { settings })).result.settings;
    expect(await change("PATCH", { delivery_delay: 5 })).toMatchObject({ delivery_delay: 5 });
    expect(await change("PATCH", { message_retention_period: 60 })).toEqual({
      delivery_delay: 5,
      message_retention_period: 60,
      delivery_paused: false,
    });
    expect(await change("PUT", { delivery_paused: true })).toEqual({
      delivery_delay: 0,
      message_retention_period: 345_600,
      delivery_paused: true,
    });
    await Promise.all([
      change("PATCH", { delivery_delay: 9 }),
      change("PATCH", { message_retention_period: 99 }),
      change("PATCH", { delivery_paused: false }),
    ]);
    expect((await call("GET", `/queues/${id}`)).result.settings).toEqual({
      delivery_delay: 9,
      message_retention_period: 99,
      delivery_paused: false,
    });
    const renamed = await call("PATCH", `/queues/${id}`, { queue_name: "other" });
    expect(renamed).toMatchObject({ status: 400, code: 100_128 });
    expect(renamed.message).toContain("queue_name");
  });

  it("is found by each of several names, exactly, and page by page", async () => {
    for (const name of ["find-a", "find-b", "find-ab"]) await createQueue(platform, name);
    expect(await namesOf("name=find-a&name=find-b&name=none")).toEqual(["find-a", "find-b"]);
    expect(await namesOf("name=none")).toEqual([]);
    const find = "name=find-a&name=find-ab&name=find-b";
    expect(await namesOf(`${find}&per_page=2`)).toEqual(["find-a", "find-ab"]);
    expect(await namesOf(`${find}&per_page=2&page=2`)).toEqual(["find-b"]);
    expect(await namesOf(`${find}&per_page=2&page=3`)).toEqual([]);
  });

  it.each<[string, number, unknown]>([
    ["queue_name", 11_003, { queue_name: "" }],
    ["queue_name", 11_003, { queue_name: "-first" }],
    ["queue_name", 11_003, { queue_name: "dot.ted" }],
    ["queue_name", 11_003, { queue_name: "x".repeat(64) }],
    ["queue_name", 10_026, {}],
    ["jurisdiction", 10_026, { queue_name: "eu", jurisdiction: "eu" }],
    ["settings.delivery_delay", 100_128, { settings: { delivery_delay: 86_401 } }],
    ["settings.delivery_delay", 100_128, { settings: { delivery_delay: 0.5 } }],
    ["settings.message_retention_period", 100_128, { settings: { message_retention_period: 59 } }],
    ["message_retention_period", 100_128, { settings: { message_retention_period: 1_209_601 } }],
    ["settings.delivery_paused", 100_128, { settings: { delivery_paused: 1 } }],
    ["settings.colour", 100_128, { settings: { colour: 1 } }],
  ])("is not made with a wrong %s (%d): %j", async (field, code, given) => {
    const body = {
      ...("settings" in (given as object) && { queue_name: "never" }),
      ...(given as object),
    };
    const answer = await call("POST", "/queues", body);
    expect(answer).toMatchObject({ status: 400, code });
    expect(answer.message).toContain(field);
    expect((await call("GET", "/queues?name=never&name=eu")).result).toEqual([]);
  });

  it("is unknown with 11000, and with 10104 where messages are concerned", async () => {
    const none = `/queues/${"0".repeat(32)}`;
    for (const [method, path, body] of [
      ["GET", none],
      ["PATCH", none, {}],
      ["DELETE", none],
      ["GET", `${none}/consumers`],
      ["POST", `${none}/purge`, { delete_messages_permanently: true }],
      ["POST", `/mayfly${none}/redrive`, { queue_name: "x" }],
    ] as const) {
      expect(await call(method, path, body)).toMatchObject({ status: 404, code: 11_000 });
    }
    for (const [method, path, body] of [
      ["POST", "messages", { body: 1 }],
      ["POST", "messages/batch", { messages: [{ body: 1 }] }],
      ["POST", "messages/pull", {}],
      ["POST", "messages/ack", {}],
      ["GET", "metrics"],
    ] as const) {
      expect(await call(method, `${none}/${path}`, body)).toMatchObject({
        status: 404,
        code: 10_104,
      });
    }
  });

  it("cannot be deleted while something sends to it; then it goes with its messages", async () => {
    const id = await createQueue(platform, "held");
    const script = `/accounts/${platform.accountId}/workers/scripts/holder`;
    const bindings = [{ type: "queue", name: "Q", queue_name: "held" }];
    await sendForm(platform, "PUT", script, { bindings });
    const bound = await call("DELETE", `/queues/${id}`);
    expect(bound).toMatchObject({ status: 400, code: 11_005 });
    expect(bound.message).toContain("holder");
    await sendForm(platform, "PUT", script, { bindings: [] });
    await push(id, { body: 1 });
    expect(await call("DELETE", `/queues/${id}`)).toMatchObject({ status: 200 });
    expect(await call("GET", `/queues/${id}`)).toMatchObject({ code: 11_000 });
    const again = await createQueue(platform, "held");
    expect(again).not.toBe(id);
    expect(await backlogCount(again)).toBe(0);
  });
});

describe("a queue that gets events", () => {
  it("shows the bucket as a producer and cannot be deleted while it is one", async () => {
    const id = await createQueue(platform, "bucket-events");
    await call("POST", "/r2/buckets", { name: "events-of" });
    const notifications = `/event_notifications/r2/events-of/configuration/queues/${id}`;
    await call("PUT", notifications, { rules: [{ actions: ["PutObject"] }] });
    expect((await call("GET", `/queues/${id}`)).result).toMatchObject({
      producers: [{ type: "r2_bucket", bucket_name: "events-of" }],
      producers_total_count: 1,
    });
    const refused = await call("DELETE", `/queues/${id}`);
    expect(refused).toMatchObject({ status: 400, code: 11_017 });
    expect(refused.message).toContain("events-of");
    await call("DELETE", notifications);
    expect(await call("DELETE", `/queues/${id}`)).toMatchObject({ status: 200 });
  });

  it("cannot be deleted while a database's changes go to it", async () => {
    const id = await createQueue(platform, "database-events");
    await createDatabase(platform, "changes-of");
    const made = await call("POST", "/mayfly/database-subscriptions", {
      database_name: "changes-of",
      table: "orders",
      queue_name: "database-events",
    });
    expect(made).toMatchObject({ status: 200 });
    const refused = await call("DELETE", `/queues/${id}`);
    expect(refused).toMatchObject({ status: 400, code: 11_017 });
    expect(refused.message).toContain("changes-of");
    await call("DELETE", `/mayfly/database-subscriptions/${made.result.id}`);
    expect(await call("DELETE", `/queues/${id}`)).toMatchObject({ status: 200 });
  });
});

const worker = (name: string): Promise<void> =>
  deployQueueWorker(platform, {
    name,
    isolation: "shared",
    code: "export default { queue() {} };",
  });

describe("a consumer", () => {
  it("is made, read, replaced and removed", async () => {
    const id = await createQueue(platform, "consumed");
    await worker("consumer");
    const made = await call("POST", `/queues/${id}/consumers`, {
      type: "worker",
      script_name: "consumer",
      dead_letter_queue: "not-made-yet",
      settings: { batch_size: 7, max_concurrency: 2, retry_delay: 3 },
    });
    expect(made.result).toEqual({
      consumer_id: expect.stringMatching(/^[\da-f]{32}$/) as string,
      created_on: expect.any(String) as string,
      queue_id: id,
      queue_name: "consumed",
      type: "worker",
      script: "consumer",
      script_name: "consumer",
      dead_letter_queue: "not-made-yet",
      settings: {
        batch_size: 7,
        max_concurrency: 2,
        max_retries: 3,
        max_wait_time_ms: 5_000,
        retry_delay: 3,
      },
    });
    const path = `/queues/${id}/consumers/${made.result.consumer_id}`;
    expect((await call("GET", path)).result).toEqual(made.result);
    expect((await call("GET", `/queues/${id}/consumers`)).result).toEqual([made.result]);
    expect((await call("GET", `/queues/${id}`)).result.consumers).toEqual([made.result]);

    const replaced = await call("PUT", path, { type: "http_pull", settings: { max_retries: 0 } });
    expect(replaced.result).toEqual({
      consumer_id: made.result.consumer_id,
      created_on: made.result.created_on,
      queue_id: id,
      queue_name: "consumed",
      type: "http_pull",
      settings: { batch_size: 5, max_retries: 0, retry_delay: 0, visibility_timeout_ms: 30_000 },
    });
    const unknown = `/queues/${id}/consumers/${"0".repeat(32)}`;
    for (const method of ["GET", "DELETE"]) {
      expect(await call(method, unknown)).toMatchObject({ status: 404, code: 11_006 });
    }
    expect(await call("DELETE", path)).toMatchObject({ status: 200 });
    expect((await call("GET", `/queues/${id}/consumers`)).result).toEqual([]);
  });

  it("is the only one of its queue", async () => {
    const id = await createPulled("one-consumer");
    await worker("second");
    const second = { type: "worker", script_name: "second" };
    expect(await call("POST", `/queues/${id}/consumers`, second)).toMatchObject({
      status: 400,
      code: 11_004,
      message: "Queue 'one-consumer' already has a consumer.",
    });
  });

  it("must be a script with a queue handler, and stays one", async () => {
    const id = await createQueue(platform, "handled");
    const add = (script_name: string): Promise<Answer> =>
      call("POST", `/queues/${id}/consumers`, { type: "worker", script_name });
    expect(await add("unknown-script")).toMatchObject({ status: 404, code: 10_007 });
    const script = `/accounts/${platform.accountId}/workers/scripts/handler`;
    await sendForm(platform, "PUT", script, {});
    expect(await add("handler")).toMatchObject({ status: 400, code: 11_001 });
    await worker("handler");
    expect(await add("handler")).toMatchObject({ status: 200 });
    const without = await sendForm(platform, "PUT", script, {});
    expect(without).toMatchObject({ status: 400, code: 11_001 });
    expect(without.message).toContain("handled");
  });

  it.each<[string, number, unknown]>([
    ["type", 10_026, { type: "email" }],
    ["environment_name", 10_026, { type: "worker", script_name: "x", environment_name: "stage" }],
    ["settings.batch_size", 100_127, { type: "http_pull", settings: { batch_size: 101 } }],
    ["settings.max_retries", 100_127, { type: "http_pull", settings: { max_retries: 101 } }],
    ["settings.retry_delay", 100_127, { type: "http_pull", settings: { retry_delay: 86_401 } }],
    [
      "settings.visibility_timeout_ms",
      100_127,
      { type: "http_pull", settings: { visibility_timeout_ms: 43_200_001 } },
    ],
    [
      "settings.max_wait_time_ms",
      100_127,
      { type: "http_pull", settings: { max_wait_time_ms: 1 } },
    ],
    [
      "settings.max_wait_time_ms",
      100_127,
      { type: "worker", settings: { max_wait_time_ms: 60_001 } },
    ],
    ["settings.max_concurrency", 100_127, { type: "worker", settings: { max_concurrency: 0 } }],
    ["settings.max_concurrency", 100_127, { type: "worker", settings: { max_concurrency: 251 } }],
    ["dead_letter_queue", 100_127, { type: "http_pull", dead_letter_queue: "no name" }],
    ["dead_letter_queue", 100_127, { type: "http_pull", dead_letter_queue: "wrongly-consumed" }],
  ])("is not made with a wrong %s (%d): %j", async (field, code, body) => {
    wrong ??= await createQueue(platform, "wrongly-consumed");
    const answer = await call("POST", `/queues/${wrong}/consumers`, body);
    expect(answer).toMatchObject({ status: 400, code });
    expect(answer.message).toContain(field);
    expect((await call("GET", `/queues/${wrong}/consumers`)).result).toEqual([]);
  });
  let wrong: string | undefined;

  it("goes with its script, after which another may take the queue", async () => {
    const id = await createQueue(platform, "left");
    await worker("leaver");
    await call("POST", `/queues/${id}/consumers`, { type: "worker", script_name: "leaver" });
    await call("DELETE", "/workers/scripts/leaver");
    expect((await call("GET", `/queues/${id}`)).result.consumers).toEqual([]);
    await push(id, { body: "kept" });
    await call("POST", `/queues/${id}/consumers`, { type: "http_pull" });
    expect((await pullSome(id)).map(decoded)).toEqual(["kept"]);
  });
});

describe("two accounts", () => {
  it("have queues of the same name and none of the other's", async () => {
    const ours = await createPulled("shared-name");
    await push(ours, { body: "ours" });
    const other = (
      await callApi(platform, "POST", "/accounts", { name: "Other", subdomain: "other" })
    ).result.id as string;
    const token = (await callApi(platform, "POST", `/accounts/${other}/tokens`, { name: "t" }))
      .result.value as string;
    const theirs = (method: string, path: string, body?: unknown): Promise<Answer> =>
      callApi(platform, method, `/accounts/${other}${path}`, body, token);

    expect((await theirs("GET", "/queues")).result).toEqual([]);
    for (const [method, path, body] of [
      ["GET", ""],
      ["PATCH", "", { settings: { delivery_paused: true } }],
      ["DELETE", ""],
      ["POST", "/purge", { delete_messages_permanently: true }],
      ["POST", "/consumers", { type: "http_pull" }],
      ["POST", "/messages", { body: "theirs" }],
      ["POST", "/messages/pull", {}],
      ["GET", "/metrics"],
    ] as const) {
      expect(await theirs(method, `/queues/${ours}${path}`, body)).toMatchObject({ status: 404 });
      const own = `/accounts/${platform.accountId}/queues/${ours}${path}`;
      const foreign = await callApi(platform, method, own, body, token);
      expect(foreign).toMatchObject({ status: 403, code: 10_000 });
    }
    const made = await theirs("POST", "/queues", { queue_name: "shared-name" });
    expect(made).toMatchObject({ status: 200 });
    expect(
      (await theirs("GET", `/queues/${made.result.queue_id}/metrics`)).result.backlog_count,
    ).toBe(0);

    // Neither as a binding nor as a dead letter queue nor for redrive.
    const redrive = `/mayfly/queues/${made.result.queue_id}/redrive`;
    await createQueue(platform, "ours-only");
    expect(await theirs("POST", redrive, { queue_name: "ours-only" })).toMatchObject({
      code: 11_000,
    });
    expect((await pull(ours)).map(decoded)).toEqual(["ours"]);
  });

  it("or tokens that only read cannot take or send messages", async () => {
    const id = await createPulled("read-only");
    const path = `/accounts/${platform.accountId}`;
    const made = await callApi(platform, "POST", `${path}/tokens`, { name: "r", access: "read" });
    const token = made.result.value as string;
    const read = (method: string, rest: string, body?: unknown): Promise<Answer> =>
      callApi(platform, method, `${path}/queues/${id}${rest}`, body, token);
    expect(await read("GET", "/metrics")).toMatchObject({ status: 200 });
    for (const rest of ["/messages", "/messages/pull", "/messages/ack", "/purge"]) {
      expect(await read("POST", rest, { body: 1 })).toMatchObject({ status: 403 });
    }
  });
});
