import { readFileSync } from "node:fs";
import { request, type ClientRequest } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callWorker, type WorkerAnswer } from "./harness/call-worker.ts";
import { createNamespace, keysOf } from "./harness/cron.ts";
import { metric } from "./harness/metrics.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { until } from "./harness/processes.ts";
import { account, backlogCount, createQueue, deployQueueWorker } from "./harness/queue.ts";
import { upload } from "./harness/upload.ts";

const CODE = readFileSync(join(import.meta.dirname, "workers/busy/index.js"), "utf8");
const OF_SCRIPT = 2_000;
/** What an account has left for requests in isolates of their own when one script has all that it may have. */
const LEFT_OF_ACCOUNT = 150;
/** For so long they are in flight: until all have begun, and something has been tried. */
const HELD_MS = 30_000;

// Each executor counts for itself.
let platform: Platform;
let kv: string;
let queueId: string;
let otherAccount: { accountId: string; api: string; token: string };
beforeAll(async () => {
  platform = await startPlatform({ env: { MAYFLY_EXECUTORS: "1" } });
  kv = await createNamespace(platform, "delivered");
  queueId = await createQueue(platform, "orders");
  await deployQueueWorker(platform, {
    name: "busy",
    code: CODE,
    isolation: "shared",
    bindings: [{ type: "kv_namespace", name: "KV", namespace_id: kv }],
    consumes: [{ queueId, settings: { batch_size: 1, max_wait_time_ms: 0 } }],
  });
  await upload(platform, {
    name: "caller",
    code: CODE,
    isolation: "shared",
    metadata: {
      bindings: [{ type: "service", name: "BUSY", service: "busy", entrypoint: "Methods" }],
    },
  });
  await upload(platform, { name: "own", code: CODE, isolation: "request" });
  const response = await platform.fetchApi("/accounts", {
    method: "POST",
    body: JSON.stringify({ name: "Other", subdomain: "other" }),
  });
  const { result } = (await response.json()) as { result: { id: string } };
  otherAccount = { api: platform.api, token: platform.token, accountId: result.id };
  await upload(otherAccount, { name: "own", code: CODE, isolation: "request" });
});
afterAll(() => platform?.stop());

const held: ClientRequest[] = [];

/** Begins a request; resolves when it has been sent, or with `head` when its response has begun. */
const begin = (name: string, path: string, head = false): Promise<number> =>
  new Promise((resolve, reject) => {
    const { port } = platform;
    const headers = { host: `${name}.dev.localhost:${port}` };
    const req = request({ host: "127.0.0.1", port, path, headers, agent: false });
    req.once("response", (res) => {
      res.on("error", () => undefined).resume();
      resolve(res.statusCode ?? 0);
    });
    req.once("error", reject);
    req.end(() => head || resolve(0));
    held.push(req);
  });

async function beginMany(name: string, path: string, count: number, head = false): Promise<void> {
  const statuses = await Promise.all(Array.from({ length: count }, () => begin(name, path, head)));
  expect(statuses.filter((status) => status > 200)).toEqual([]);
}

/** Invocations in flight, as the metrics say it. */
const inFlight = async (): Promise<number> =>
  (await metric(platform, "mayfly_invocations_in_flight")) ?? 0;

const call = (name: string, path = "/"): Promise<WorkerAnswer> => callWorker(platform, name, path);
const values = (): string => `/accounts/${platform.accountId}/storage/kv/namespaces/${kv}/values`;

describe("with as many requests of a script in flight as there may be", () => {
  beforeAll(async () => {
    const path = `/until/${Date.now() + HELD_MS}`;
    // Not more at once than there is room for in the kernel's queue of new connections.
    for (let begun = 100; begun <= OF_SCRIPT; begun += 100) {
      await beginMany("busy", path, 100);
      await until(async () => (await inFlight()) >= begun, HELD_MS);
    }
    const message = { body: "order-1", content_type: "text" };
    await account(platform, "POST", `/queues/${queueId}/messages`, message);
  }, HELD_MS + 5_000);

  it("others are refused, and told when to come again", async () => {
    const refused = await call("busy");
    expect(refused).toMatchObject({ status: 429, code: "too_many_requests", retryAfter: "1" });
    expect(refused.text).toContain(`At most ${OF_SCRIPT} invocations of a script`);
    const labels = { trigger: "fetch", status: "429", code: "too_many_requests" };
    expect(await metric(platform, "mayfly_error_answers_total", labels)).toBe(1);
  });

  it("calls of its methods fail with the reason", async () => {
    const { text } = await call("caller", "/call");
    expect(text).toContain(`Too many requests at once: At most ${OF_SCRIPT} invocations`);
  });

  it("the account's other scripts have room, but no account has all", async () => {
    await beginMany("own", "/drip", LEFT_OF_ACCOUNT, true);
    for (const name of ["own", "caller"]) {
      const { status, text } = await call(name);
      expect(status).toBe(429);
      expect(text).toContain("invocations of an account's scripts");
    }
    const other = await callWorker(platform, "own", "/", "other");
    expect(other).toMatchObject({ status: 200, text: "done" });
    for (const req of held) req.on("error", () => undefined).destroy();
    await until(async () => (await call("own")).status === 200, 5_000);
  });

  it(
    "its messages wait, which is no attempt",
    async () => {
      expect(await call("busy")).toMatchObject({ status: 429 });
      expect(await backlogCount(platform, queueId)).toBe(1);
      expect(await keysOf(platform, kv)).toEqual([]);
      await until(async () => (await keysOf(platform, kv)).length === 1, HELD_MS + 5_000);
      expect(await (await platform.fetchApi(`${values()}/order-1`)).text()).toBe("1");
      expect(await call("busy")).toMatchObject({ status: 200 });
      expect(await call("caller", "/call")).toMatchObject({ text: "hello" });
    },
    HELD_MS + 20_000,
  );
});

/** A path that makes a URL of so many bytes. */
function withLength(bytes: number): string {
  const { length } = `http://own.dev.localhost:${platform.port}/`;
  return `/${"a".repeat(bytes - length)}`;
}

describe("a URL", () => {
  it("may have 16 KiB", async () => {
    expect(await call("own", withLength(16 * 1024))).toMatchObject({ status: 200 });
  });

  it("may not have more", async () => {
    const answer = await call("own", withLength(16 * 1024 + 1));
    expect(answer).toMatchObject({ status: 414, code: "url_too_long" });
    expect(answer.text).toContain("at most 16384 bytes");
  });
});
