import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deployCronWorker, beginRun } from "./harness/cron.ts";
import { OtlpReceiver, type Span } from "./harness/otlp-receiver.ts";
import { findViolation } from "./harness/otlp-schema.ts";
import { freePort, type Platform, startPlatform } from "./harness/platform.ts";
import { pidOf, until } from "./harness/processes.ts";
import { account, createDatabase, createQueue, deployQueueWorker } from "./harness/queue.ts";
import { upload } from "./harness/upload.ts";

const PATIENCE_MS = 20_000;

// Does what the query asks for, one thing after the other.
const FRONT = `
const wait = (ms) => scheduler.wait(ms);
const things = {
  kv: (env) => env.KV.get("key"),
  d1: (env) => env.DB.prepare("SELECT 1 AS one WHERE 'a' = ?").bind("secret").all(),
  r2: (env) => env.BUCKET.get("key"),
  send: (env) => env.QUEUE.send({ hello: "there" }),
  sendMany: (env) => env.QUEUE.sendBatch([{ body: 1 }, { body: 2 }]),
  fetch: async (env) => (await env.BACK.fetch("http://back/path?token=secret")).json(),
  rpc: (env) => env.BACK.greet("you"),
  outside: async (env) => (await fetch(env.ADDRESS)).json(),
  own: async (env) => (await fetch(env.ADDRESS, { headers: { traceparent: env.OWN } })).json(),
  forward: async (env, request) => (await fetch(env.ADDRESS, request)).json(),
  forger: async (env, request) => {
    const headers = { victim: request.headers.get("cf-ray") };
    return (await env.FORGER.fetch("http://forger/", { headers })).json();
  },
  wait: () => wait(20),
  later: (env, request, ctx) => ctx.waitUntil(
    wait(100).then(() => env.KV.get("key")).then(() => env.BACK.fetch("http://back/later")),
  ),
  stubs: async (env) => ({
    counted: await env.BACK.counter().add(2),
    passedOn: await env.BACK.use(env.BACK),
    same: env.BACK === env.BACK,
    awaited: (await env.BACK) === env.BACK,
  }),
  throw: () => { throw new TypeError("that is how it is"); },
};
export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    const results = {};
    for (const thing of url.searchParams.getAll("do")) {
      results[thing] = await things[thing](env, request, ctx);
    }
    const { traceparent, tracestate } = Object.fromEntries(request.headers);
    return Response.json({ traceparent, tracestate, ...results });
  },
};`;

const BACK = `
import { RpcTarget, WorkerEntrypoint } from "cloudflare:workers";
class Counter extends RpcTarget {
  #count = 0;
  add(number) { return (this.#count += number); }
}
export default class extends WorkerEntrypoint {
  async fetch(request) {
    await this.env.KV.get("key");
    const { traceparent, tracestate } = Object.fromEntries(request.headers);
    return Response.json({ traceparent, tracestate });
  }
  async greet(name) {
    await this.env.KV.get("key");
    return "hello " + name;
  }
  counter() { return new Counter(); }
  use(stub) { return stub.greet("nested"); }
}`;

// Calls in the name of the invocation that calls it, where nothing says which of its own is at work.
const FORGER = `
import { AsyncLocalStorage } from "node:async_hooks";
const nowhere = AsyncLocalStorage.snapshot();
export default {
  async fetch(request, env) {
    const victim = request.headers.get("victim");
    const headers = { "cf-ray": victim };
    await nowhere(() => fetch(env.ADDRESS, { headers }));
    await nowhere(() => env.BACK.fetch("http://back/", { headers }));
    await nowhere(() => env.BACK["greet " + victim]("you"));
    return Response.json({ victim });
  },
};`;

/** The spans within a call, of the worker that makes it. */
const INSIDE: Record<string, (back: string) => string[]> = {
  kv: () => ["client kv_get"],
  d1: () => ["client d1_query"],
  r2: () => ["client r2_get"],
  fetch: (back) => ["client GET", ...requestTo(back)],
  outside: (back) => ["client GET", ...requestTo(back)],
  rpc: (back) => [
    `client ${back}/greet`,
    `  server ${back}/greet`,
    `    internal ${back} greet`,
    "      client kv_get",
  ],
};
const requestTo = (back: string): string[] => [
  `  server GET ${back}`,
  `    internal ${back} fetch`,
  "      client kv_get",
];

const CONSUMER = `
export default {
  async queue(batch, env) { await env.KV.put("seen", String(batch.messages.length)); },
  async scheduled(event, env) { await env.KV.put("ran", event.cron); },
};`;

let platform: Platform;
let receiver: OtlpReceiver;
let own: string;
let queueId: string;

beforeAll(async () => {
  receiver = new OtlpReceiver(await freePort());
  await receiver.start();
  platform = await startPlatform({
    env: {
      MAYFLY_EXECUTORS: "2",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${receiver.port}`,
      OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20of%20spans,x-team=test",
      OTEL_SERVICE_NAME: "here",
    },
  });
  const { id: namespace_id } = await account<{ id: string }>(
    platform,
    "POST",
    "/storage/kv/namespaces",
    { title: "traces" },
  );
  const kv = { type: "kv_namespace", name: "KV", namespace_id };
  const database = await createDatabase(platform, "traces");
  await account(platform, "POST", "/r2/buckets", { name: "traces" });
  const settings = { batch_size: 10, max_wait_time_ms: 200 };
  queueId = await createQueue(platform, "traces");
  await deployQueueWorker(platform, {
    name: "consumer",
    code: CONSUMER,
    isolation: "request",
    bindings: [kv],
    consumes: [{ queueId, settings }],
  });
  await deployCronWorker(platform, {
    name: "timer",
    code: CONSUMER,
    crons: ["0 0 1 1 *"],
    kv: namespace_id,
  });
  own = `00-${randomBytes(16).toString("hex")}-${randomBytes(8).toString("hex")}-01`;
  for (const isolation of ["request", "shared"] as const) {
    await upload(platform, {
      name: `back-${isolation}`,
      code: BACK,
      isolation,
      metadata: { bindings: [kv] },
    });
    const back = [
      { type: "service", name: "BACK", service: `back-${isolation}` },
      {
        type: "plain_text",
        name: "ADDRESS",
        text: `http://back-${isolation}.dev.localhost:${platform.port}/there`,
      },
    ];
    await upload(platform, {
      name: `forger-${isolation}`,
      code: FORGER,
      isolation,
      metadata: { bindings: back, compatibility_flags: ["nodejs_als"] },
    });
    const bindings = [
      kv,
      ...back,
      { type: "service", name: "FORGER", service: `forger-${isolation}` },
      { type: "d1", name: "DB", id: database },
      { type: "r2_bucket", name: "BUCKET", bucket_name: "traces" },
      { type: "queue", name: "QUEUE", queue_name: "traces" },
      { type: "plain_text", name: "OWN", text: own },
    ];
    const front = { code: FRONT, isolation };
    await upload(platform, { ...front, name: `front-${isolation}`, metadata: { bindings } });
    if (isolation === "request") continue;
    const limits = { cpu_ms: 10_000 };
    await upload(platform, { ...front, name: "front-long", metadata: { bindings, limits } });
  }
});

afterAll(async () => {
  await platform?.stop();
  await receiver?.stop();
});

interface Answer {
  status: number;
  body: {
    traceparent?: string;
    tracestate?: string;
    fetch?: { traceparent?: string; tracestate?: string };
    outside?: { traceparent?: string; tracestate?: string };
    own?: { traceparent?: string };
    forward?: { traceparent?: string };
    stubs?: unknown;
    forger?: { victim: string };
  };
  /** Of the trace that was begun, or continued. */
  traceId: string;
}

const newParent = (flags = "01"): { header: string; traceId: string; spanId: string } => {
  const traceId = randomBytes(16).toString("hex");
  const spanId = randomBytes(8).toString("hex");
  return { header: `00-${traceId}-${spanId}-${flags}`, traceId, spanId };
};

async function call(
  name: string,
  things: string[],
  headers: Record<string, string> = {},
): Promise<Answer> {
  const query = things.map((thing) => `do=${thing}`).join("&");
  const response = await platform.fetchHost(`${name}.dev.localhost`, `/path?${query}`, { headers });
  const text = await response.text();
  const body = response.ok ? (JSON.parse(text) as Answer["body"]) : {};
  return { status: response.status, body, traceId: body.traceparent?.slice(3, 35) ?? "" };
}

/** Waits until so many spans of the trace have come. */
async function spansOf(traceId: string, count: number): Promise<Span[]> {
  await until(() => receiver.trace(traceId).length >= count, PATIENCE_MS);
  return receiver.trace(traceId);
}

const named = (spans: Span[], name: string): Span => {
  const span = spans.find((candidate) => candidate.name === name);
  if (!span) throw new Error(`No span ${name}: ${spans.map((one) => one.name).join()}`);
  return span;
};

/** The lines of a request's tree in which the things are done one after the other. */
const treeOf = (front: string, back: string, things: string[]): string[] => [
  `server GET ${front}`,
  `  internal ${front} fetch`,
  ...things.flatMap((thing) => (INSIDE[thing]?.(back) ?? []).map((line) => `    ${line}`)),
];

/** What the platform's metrics say. */
async function counted(series: string): Promise<number> {
  const headers = { authorization: `Bearer ${platform.token}` };
  const text = await (await fetch(`${platform.url}/_mayfly/metrics`, { headers })).text();
  const line = text.split("\n").find((candidate) => candidate.startsWith(`${series} `));
  return Number(line?.split(" ").at(-1));
}

describe.each(["request", "shared"])("A trace of workers with %s isolation", (isolation) => {
  const front = `front-${isolation}`;
  const back = `back-${isolation}`;

  it("is one tree across workers and bindings", async () => {
    const things = ["kv", "d1", "r2", "fetch", "rpc", "outside"];
    const { traceId } = await call(front, things);
    const lines = treeOf(front, back, things);
    await spansOf(traceId, lines.length);
    expect(receiver.tree(traceId).split("\n")).toEqual(lines);
  });

  it("has nothing of others that go on at the same time", async () => {
    const orders = [
      ["kv", "wait", "rpc", "wait", "fetch"],
      ["wait", "rpc", "wait", "kv", "kv"],
      ["outside", "wait", "d1"],
      ["wait", "wait", "r2", "rpc"],
    ];
    const all = Array.from({ length: 32 }, (_, index) => ({
      parent: newParent(),
      things: orders[index % orders.length] as string[],
    }));
    await Promise.all(
      all.map(({ parent, things }) => call(front, things, { traceparent: parent.header })),
    );
    for (const { parent, things } of all) {
      const lines = treeOf(front, back, things);
      await spansOf(parent.traceId, lines.length);
      expect(receiver.tree(parent.traceId, parent.spanId).split("\n")).toEqual(lines);
    }
  });

  it("has what the worker does when its response is out", async () => {
    const { traceId } = await call(front, ["later"]);
    const spans = await spansOf(traceId, 7);
    const worker = named(spans, `${front} fetch`);
    const calls = spans.filter(({ parentId }) => parentId === worker.spanId);
    expect(calls.map(({ name }) => name).sort()).toEqual(["GET", "kv_get"]);
  });

  it("takes no worker's word for what another does", async () => {
    const { traceId, body } = await call(front, ["forger"]);
    expect(body.forger?.victim).toMatch(/^[\da-f]{16}$/);
    const forger = `forger-${isolation}`;
    const lines = [
      `server GET ${front}`,
      `  internal ${front} fetch`,
      "    client GET",
      `      server GET ${forger}`,
      `        internal ${forger} fetch`,
    ];
    // Where an isolate has one invocation it is that one, whatever it says.
    const own = ["outside", "fetch", "rpc"].flatMap((thing) => INSIDE[thing]?.(back) ?? []);
    if (isolation === "request") lines.push(...own.map((line) => `          ${line}`));
    await spansOf(traceId, lines.length);
    expect(receiver.tree(traceId).split("\n")).toEqual(lines);
  });

  it("leaves service bindings what they are", async () => {
    const { traceId, body } = await call(front, ["stubs"]);
    expect(body.stubs).toEqual({ counted: 2, passedOn: "hello nested", same: true, awaited: true });
    await spansOf(traceId, 5);
    receiver.tree(traceId);
  });
});

describe("A trace", () => {
  it("goes through the executor of what asks for much CPU time", async () => {
    const { traceId } = await call("front-long", ["kv", "fetch", "rpc"]);
    const lines = treeOf("front-long", "back-shared", ["kv", "fetch", "rpc"]);
    await spansOf(traceId, lines.length);
    expect(receiver.tree(traceId).split("\n")).toEqual(lines);
  });

  it("says what the conventions ask for", async () => {
    const { traceId } = await call("front-request", ["kv", "d1", "r2", "fetch", "rpc"]);
    const spans = await spansOf(traceId, 13);
    const server = named(spans, "GET front-request");
    expect(server.attributes).toMatchObject({
      "http.request.method": "GET",
      "http.response.status_code": 200,
      "url.scheme": "http",
      "url.path": "/path",
      "server.address": "front-request.dev.localhost",
      "server.port": platform.port,
      "faas.trigger": "http",
      "faas.name": "front-request",
      "cloud.account.id": platform.accountId,
    });
    expect(server.attributes["faas.invocation_id"]).toMatch(/^[\da-f]{16}$/);
    expect(server.parentId).toBeUndefined();
    expect(server.status).toBe(0);
    expect(named(spans, "front-request fetch").attributes).toMatchObject({
      "faas.version": server.attributes["faas.version"],
      "cloudflare.outcome": "ok",
    });
    expect(named(spans, "kv_get").attributes).toMatchObject({
      "db.system.name": "cloudflare-kv",
      "db.operation.name": "get",
    });
    expect(named(spans, "d1_query").attributes).toMatchObject({
      "db.system.name": "cloudflare-d1",
      "db.query.text": "SELECT ? AS one WHERE ? = ?",
    });
    expect(named(spans, "r2_get").attributes).toMatchObject({ "cloudflare.r2.bucket": "traces" });
    expect(named(spans, "GET").attributes).toMatchObject({
      "http.request.method": "GET",
      "url.full": "http://back/path",
      "http.response.status_code": 200,
    });
    expect(named(spans, "back-request/greet").attributes).toMatchObject({ "rpc.method": "greet" });
    expect(server.resource["service.name"]).toBe("here");
    expect(server.resource["service.instance.id"]).toMatch(/^[\da-f]{8}$/);
    expect(JSON.stringify(spans)).not.toContain("secret");
    expect(receiver.requests.at(-1)?.headers).toMatchObject({
      authorization: "Bearer of spans",
      "x-team": "test",
    });
  });

  it("goes on where the caller's ends, and takes its tracestate along", async () => {
    const parent = newParent();
    const headers = { traceparent: parent.header, tracestate: "congo=t61rcWkgMzE,other=1" };
    const { body } = await call("front-request", ["fetch"], headers);
    const spans = await spansOf(parent.traceId, 5);
    receiver.tree(parent.traceId, parent.spanId);
    const inside = (name: string): string => `00-${parent.traceId}-${named(spans, name).spanId}-01`;
    expect(body.traceparent).toBe(inside("front-request fetch"));
    expect(body.fetch?.traceparent).toBe(inside("back-request fetch"));
    expect(body.tracestate).toBe(headers.tracestate);
    expect(body.fetch?.tracestate).toBe(headers.tracestate);
    expect(spans.map(({ traceState }) => traceState)).toEqual(spans.map(() => headers.tracestate));
  });

  it("begins anew where the caller's is not valid", async () => {
    const invalid = [
      "00-00000000000000000000000000000000-0123456789abcdef-01",
      "00-0123456789abcdef0123456789abcdef-0000000000000000-01",
      "ff-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
      "00-0123456789ABCDEF0123456789ABCDEF-0123456789abcdef-01",
      "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01-more",
      "nonsense",
    ];
    const traceIds: string[] = [];
    for (const traceparent of invalid) {
      const headers = { traceparent, tracestate: "a=1" };
      const { traceId, body } = await call("front-shared", [], headers);
      expect(traceId).not.toBe(traceparent.slice(3, 35));
      expect(body.tracestate).toBeUndefined();
      traceIds.push(traceId);
    }
    for (const traceId of traceIds) {
      const [span] = await spansOf(traceId, 2);
      expect(span?.traceState).toBeUndefined();
      receiver.tree(traceId);
    }
  });

  it("is understood in versions that are still to come", async () => {
    const { traceId, spanId } = newParent();
    const traceparent = `cc-${traceId}-${spanId}-01-what-else`;
    const { body } = await call("front-request", [], { traceparent });
    expect(body.traceparent).toMatch(new RegExp(`^00-${traceId}-`));
    await spansOf(traceId, 2);
    receiver.tree(traceId, spanId);
  });

  it("is not recorded if the caller does not record it", async () => {
    const parent = newParent("00");
    const things = ["kv", "fetch", "outside", "send"];
    const { body } = await call("front-request", things, { traceparent: parent.header });
    const unrecorded = new RegExp(`^00-${parent.traceId}-[\\da-f]{16}-00$`);
    expect(body.traceparent).toMatch(unrecorded);
    expect(body.fetch?.traceparent).toMatch(unrecorded);
    expect(body.outside?.traceparent).toMatch(unrecorded);
    // What comes later from the same executors would come after it.
    const later = await Promise.all(Array.from({ length: 20 }, () => call("front-request", [])));
    for (const { traceId } of later) await spansOf(traceId, 2);
    expect(receiver.trace(parent.traceId)).toEqual([]);
  });

  it("is what the worker itself says, if it does", async () => {
    const { body, traceId } = await call("front-request", ["own", "forward"]);
    const spans = await spansOf(traceId, 6);
    const [, ownTrace = "", ownSpan] = own.split("-");
    expect(body.own?.traceparent).toMatch(new RegExp(`^00-${ownTrace}-`));
    const [server] = await spansOf(ownTrace, 3);
    expect(server?.parentId ?? "").not.toBe("");
    receiver.tree(ownTrace, ownSpan);
    // A request that is only passed on says what the worker was called with.
    const calls = spans.filter(({ name }) => name === "GET").map(({ spanId }) => spanId);
    expect(calls).toContain(named(spans, "GET back-request").parentId);
    receiver.tree(traceId);
  });

  it("tells of exceptions", async () => {
    const { header, traceId } = newParent();
    const { status } = await call("front-request", ["throw"], { traceparent: header });
    expect(status).toBe(500);
    const spans = await spansOf(traceId, 2);
    const server = named(spans, "GET front-request");
    const worker = named(spans, "front-request fetch");
    expect([server.status, worker.status]).toEqual([2, 2]);
    expect(server.attributes["error.type"]).toBe("TypeError");
    expect(server.attributes["http.response.status_code"]).toBe(500);
    expect(worker.events).toEqual([
      {
        name: "exception",
        attributes: {
          "exception.type": "TypeError",
          "exception.message": "that is how it is",
          "exception.stacktrace": expect.stringContaining("index.js"),
        },
      },
    ]);
  });

  it("goes on from who sends a message to who consumes it", async () => {
    const { traceId } = await call("front-request", ["sendMany"]);
    await spansOf(traceId, 6);
    expect(receiver.tree(traceId).split("\n")).toEqual([
      "server GET front-request",
      "  internal front-request fetch",
      "    producer send traces",
      "      consumer process traces",
      "        internal consumer queue",
      "          client kv_put",
    ]);
    const consumer = named(receiver.trace(traceId), "process traces");
    expect(consumer.links).toEqual([]);
    expect(consumer.attributes).toMatchObject({
      "messaging.system": "cloudflare-queues",
      "messaging.destination.name": "traces",
      "messaging.batch.message_count": 2,
      "faas.trigger": "pubsub",
    });
  });

  it("begins with a batch that several have sent, and names all of them", async () => {
    let batch: Span | undefined;
    let senders: string[] = [];
    // Whether messages meet in a batch is a question of time.
    await until(async () => {
      const calls = Array.from({ length: 4 }, () => call("front-request", ["send"]));
      const traceIds = (await Promise.all(calls)).map(({ traceId }) => traceId);
      const sends = (): Span[] =>
        traceIds.flatMap((id) => receiver.trace(id).filter(({ kind }) => kind === "producer"));
      await until(() => sends().length === 4, PATIENCE_MS);
      senders = sends().map(({ spanId }) => spanId);
      const isBatch = ({ kind, links }: Span): boolean =>
        kind === "consumer" && links.some(({ spanId }) => senders.includes(spanId));
      await until(
        () =>
          receiver.spans.some(isBatch) ||
          receiver.spans.filter(({ parentId = "" }) => senders.includes(parentId)).length === 4,
        PATIENCE_MS,
      );
      batch = receiver.spans.find(isBatch);
      return batch !== undefined;
    }, PATIENCE_MS);
    expect(batch?.parentId).toBeUndefined();
    expect(batch?.links.length).toBe(batch?.attributes["messaging.batch.message_count"]);
    for (const { spanId } of batch?.links ?? []) expect(senders).toContain(spanId);
    receiver.tree(batch?.traceId ?? "");
  });

  it("begins with a message that the API has put in", async () => {
    const known = new Set(receiver.spans.map(({ spanId }) => spanId));
    const body = { body: "by hand", content_type: "text" };
    await account(platform, "POST", `/queues/${queueId}/messages`, body);
    const isNew = ({ kind, spanId }: Span): boolean => kind === "consumer" && !known.has(spanId);
    await until(() => receiver.spans.some(isNew), PATIENCE_MS);
    const consumer = receiver.spans.find(isNew);
    expect(consumer?.parentId).toBeUndefined();
    expect(consumer?.links).toEqual([]);
  });

  it("begins with a cron", async () => {
    await beginRun(platform, "timer", "0 0 1 1 *");
    await until(() => receiver.spans.some(({ name }) => name === "timer scheduled"), PATIENCE_MS);
    const worker = named(receiver.spans, "timer scheduled");
    await spansOf(worker.traceId, 3);
    expect(receiver.tree(worker.traceId).split("\n")).toEqual([
      "internal timer",
      "  internal timer scheduled",
      "    client kv_put",
    ]);
    expect(named(receiver.spans, "timer").attributes).toMatchObject({
      "faas.trigger": "timer",
      "faas.cron": "0 0 1 1 *",
    });
  });
});

describe("A collector", () => {
  it("that asks for patience is given it", async () => {
    receiver.reply = { status: 503, headers: { "retry-after": "2" } };
    const refused = receiver.requests.length;
    const { traceId } = await call("front-request", []);
    await until(() => receiver.requests.length > refused, PATIENCE_MS);
    receiver.reply = { status: 200, body: "{}" };
    await spansOf(traceId, 2);
    receiver.tree(traceId);
    const [first, second] = receiver.requests.slice(refused);
    expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThanOrEqual(1_990);
  });

  it("that takes a part is not asked again, and the rest is in the log", async () => {
    const partialSuccess = { rejectedSpans: "1", errorMessage: "one was too long" };
    receiver.reply = { status: 200, body: JSON.stringify({ partialSuccess }) };
    const { traceId } = await call("front-request", []);
    await spansOf(traceId, 2);
    await until(() => platform.output().includes("one was too long"), PATIENCE_MS);
    receiver.reply = { status: 200, body: "{}" };
    const other = await call("front-request", []);
    await spansOf(other.traceId, 2);
    receiver.tree(traceId);
  });

  it("that refuses is not asked again", async () => {
    receiver.reply = { status: 400, body: '{"message":"not like that"}' };
    const { traceId } = await call("front-request", []);
    await until(() => platform.output().includes("not like that"), PATIENCE_MS);
    receiver.reply = { status: 200, body: "{}" };
    const other = await call("front-request", []);
    await spansOf(other.traceId, 2);
    expect(receiver.trace(traceId)).toEqual([]);
    // With the one that was refused before.
    expect(await counted('mayfly_spans_dropped_total{reason="refused"}')).toBeGreaterThanOrEqual(3);
    expect(await counted("mayfly_spans_exported_total")).toBeGreaterThanOrEqual(100);
  });

  it("that hangs, or is away, keeps nobody waiting, and misses nothing", async () => {
    receiver.reply = "hang";
    const hung = receiver.requests.length;
    const calls = [await call("front-request", [])];
    await until(() => receiver.requests.length > hung, PATIENCE_MS);
    const begun = Date.now();
    for (let i = 0; i < 20; i++) calls.push(await call("front-request", ["kv"]));
    // One that waited would wait for ten seconds.
    expect(Date.now() - begun).toBeLessThan(9_000);
    await receiver.stop();
    await until(() => platform.output().includes('"event":"export_delayed"'), PATIENCE_MS);
    for (let i = 0; i < 5; i++) calls.push(await call("front-request", ["kv"]));
    receiver.reply = { status: 200, body: "{}" };
    await receiver.start();
    for (const { traceId } of calls) {
      await spansOf(traceId, 2);
      receiver.tree(traceId);
    }
  });

  it("gets the spans of executors that are replaced", async () => {
    const calls = await Promise.all(Array.from({ length: 10 }, () => call("front-shared", [])));
    expect((await platform.mayfly(["reload"])).code).toBe(0);
    for (const { traceId } of calls) await spansOf(traceId, 2);
  });

  it("gets the spans of the time in which state was away", async () => {
    const before = pidOf(platform, "state");
    process.kill(before, "SIGKILL");
    const calls = await Promise.all(Array.from({ length: 10 }, () => call("front-request", [])));
    await until(() => pidOf(platform, "state") !== before, PATIENCE_MS);
    for (const { status, traceId } of calls) {
      expect(status).toBe(200);
      await spansOf(traceId, 2);
    }
  });

  it("has got nothing that violates its protocol", () => {
    expect(receiver.spans.length).toBeGreaterThan(100);
    expect(receiver.violations).toEqual([]);
  });
});

describe("Settings", () => {
  it("without an endpoint leave requests as they are", async () => {
    const plain = await startPlatform({ env: { MAYFLY_EXECUTORS: "1" } });
    try {
      const code = `export default { fetch: (request) => Response.json([...request.headers]) };`;
      await upload(plain, { name: "headers", code, isolation: "shared" });
      const get = async (headers: Record<string, string>): Promise<[string, string][]> =>
        (await plain.fetchHost("headers.dev.localhost", "/", { headers })).json() as Promise<
          [string, string][]
        >;
      expect((await get({})).map(([name]) => name)).not.toContain("traceparent");
      const { header } = newParent();
      expect(await get({ traceparent: header })).toContainEqual(["traceparent", header]);
    } finally {
      await plain.stop();
    }
  });

  it("have a share of requests recorded", async () => {
    const half = await startPlatform({
      env: {
        MAYFLY_EXECUTORS: "1",
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${receiver.port}`,
        OTEL_TRACES_SAMPLER_ARG: "0.5",
        OTEL_SERVICE_NAME: "half",
      },
    });
    try {
      const code = `export default {
        fetch: (request) => new Response(request.headers.get("traceparent")),
      };`;
      await upload(half, { name: "half", code, isolation: "shared" });
      const headers: string[] = [];
      for (let i = 0; i < 100; i++) {
        headers.push(await (await half.fetchHost("half.dev.localhost")).text());
      }
      const recorded = headers.filter((header) => header.endsWith("-01"));
      expect(recorded.length).toBeGreaterThan(15);
      expect(recorded.length).toBeLessThan(85);
      const ofHalf = (): Span[] =>
        receiver.spans.filter(({ resource }) => resource["service.name"] === "half");
      await until(() => ofHalf().length >= recorded.length * 2, PATIENCE_MS);
      expect(new Set(ofHalf().map(({ traceId }) => traceId))).toEqual(
        new Set(recorded.map((header) => header.slice(3, 35))),
      );
    } finally {
      await half.stop();
    }
  });

  it.each([
    ["OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/json, or not set"],
    ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf", "http/json, or not set"],
    ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4317", "a URL like http://127.0.0.1:4318"],
    ["OTEL_TRACES_SAMPLER", "always_off", "parentbased_traceidratio, or not set"],
    ["OTEL_TRACES_SAMPLER_ARG", "2", "a number from 0 to 1"],
    ["OTEL_TRACES_EXPORTER", "zipkin", "otlp or none"],
  ])("that are wrong are refused: %s=%s", async (name, value, allowed) => {
    const { code, stderr } = await platform.mayfly(["env"], { env: { [name]: value } });
    expect(code).toBe(1);
    expect(stderr).toContain(`${name}: got "${value}", must be ${allowed}`);
  });
});

describe("The collector of these tests", () => {
  const span = {
    traceId: "0123456789abcdef0123456789abcdef",
    spanId: "0123456789abcdef",
    flags: 257,
    name: "one",
    kind: 2,
    startTimeUnixNano: "1700000000000000000",
    endTimeUnixNano: "1700000001000000000",
    attributes: [{ key: "a", value: { intValue: "1" } }],
    status: { code: 2 },
  };
  const exported = (changes: object): unknown => ({
    resourceSpans: [{ scopeSpans: [{ spans: [{ ...span, ...changes }] }] }],
  });

  it("takes what the protocol allows", () => {
    expect(findViolation(exported({}))).toBeUndefined();
  });

  it.each([
    { traceId: "0123456789abcdef" },
    { spanId: "0123456789ABCDEF" },
    { spanId: "0000000000000000" },
    { parentSpanId: "" },
    { kind: "SPAN_KIND_SERVER" },
    { kind: "2" },
    { startTimeUnixNano: 1_700_000_000_000 },
    { startTimeUnixNano: "soon" },
    { name: 5 },
    { duration: 5 },
    { attributes: [{ key: "a", value: { intValue: 1 } }] },
    { attributes: [{ key: "a", value: { stringValue: 1 } }] },
    { attributes: [{ key: "a", value: "1" }] },
    { attributes: { a: "1" } },
    { status: "ERROR" },
    { status: { code: "2" } },
    { events: [{ time: "1700000000000000000", name: "exception" }] },
  ])("refuses %j", (changes) => {
    expect(findViolation(exported(changes))).toBeTypeOf("string");
  });
});
