import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { METRICS } from "../src/observe/metrics/definitions.ts";
import { toExposition, toText } from "../src/observe/metrics/series.ts";
import type { UsageRow } from "../src/usage/rows.ts";
import { callApi } from "./harness/api.ts";
import { callWorker } from "./harness/call-worker.ts";
import { beginRun, changeScheduler, deployCronWorker, endedRun } from "./harness/cron.ts";
import { readExposition, type ReadMetric } from "./harness/exposition.ts";
import { readMetrics, sumOf } from "./harness/metrics.ts";
import { startPlatform, type ApiAccess, type Platform } from "./harness/platform.ts";
import { isAlive, killExecutors, pidOf, until } from "./harness/processes.ts";
import { account, createDatabase, createQueue, deployQueueWorker } from "./harness/queue.ts";
import { upload } from "./harness/upload.ts";

type Metrics = Map<string, ReadMetric>;
type Usage = { rows: UsageRow[] };

const ROOT = join(import.meta.dirname, "..");
const INVOCATIONS = "mayfly_invocations_total";
const DURATION = "mayfly_invocation_duration_seconds";
const NEVER = "0 0 29 2 *";
/** Scripts and queues that have series of their own. */
const OWN_SERIES = 6;
const COUNTED_WITHIN_MS = 20_000;

const WEB = `import { WorkerEntrypoint } from "cloudflare:workers";
export class Methods extends WorkerEntrypoint {
  add(a, b) { if (b === undefined) throw new Error("two, please"); return a + b; }
}
export default {
  async fetch(request, env) {
    const path = new URL(request.url).pathname;
    if (path === "/throw") throw new Error("as asked");
    if (path === "/slow") await scheduler.wait(120);
    if (path === "/echo") return new Response(await request.text());
    if (path === "/kv") {
      await env.KV.put("key", "value");
      await env.KV.get("key");
      await env.DB.prepare("SELECT 1").all();
    }
    return new Response("ok");
  },
};`;
const CALLER = `export default {
  async fetch(request, env) {
    const path = new URL(request.url).pathname;
    if (path === "/send") await env.JOBS.send("job");
    if (path === "/fail") await env.WEB.add(1).catch(() => 0);
    if (path === "/add") await env.WEB.add(1, 2);
    return new Response("ok");
  },
};`;
const EVENTS = `export default {
  async queue(batch) {
    for (const message of batch.messages) {
      if (message.body === "again" && message.attempts === 1) message.retry();
    }
  },
  async scheduled() {},
};`;
const PLAIN = `export default { fetch: () => new Response("ok") };`;

let platform: Platform;
let tenant: ApiAccess;
let jobs: string;
let held: string;

const metrics = (): Promise<Metrics> => readMetrics(platform);
const dev = (script: string): Record<string, string> => ({ account: "dev", script });

beforeAll(async () => {
  platform = await startPlatform({
    env: { MAYFLY_EXECUTORS: "2", MAYFLY_METRICS_SERIES: String(OWN_SERIES) },
  });
  const { result: kv } = await callApi(
    platform,
    "POST",
    `/accounts/${platform.accountId}/storage/kv/namespaces`,
    { title: "values" },
  );
  const db = await createDatabase(platform, "rows");
  jobs = await createQueue(platform, "jobs");
  held = await createQueue(platform, "held");
  const bindings = [
    { type: "kv_namespace", name: "KV", namespace_id: kv.id },
    { type: "d1", name: "DB", id: db },
  ];
  await upload(platform, { name: "web", code: WEB, isolation: "shared", metadata: { bindings } });
  await upload(platform, { name: "own", code: WEB, isolation: "request" });
  await deployQueueWorker(platform, {
    name: "caller",
    code: CALLER,
    isolation: "shared",
    bindings: [
      { type: "service", name: "WEB", service: "web", entrypoint: "Methods" },
      { type: "queue", name: "JOBS", queue_name: "jobs" },
    ],
  });
  const settings = { batch_size: 1, max_wait_time_ms: 0, retry_delay: 0 };
  await deployQueueWorker(platform, {
    name: "consumer",
    code: EVENTS,
    isolation: "shared",
    consumes: [{ queueId: jobs, settings }],
  });
  await deployCronWorker(platform, { name: "cron", code: EVENTS, crons: [NEVER] });
  const made = await callApi(platform, "POST", "/accounts", { name: "Other", subdomain: "other" });
  tenant = { api: platform.api, token: platform.token, accountId: made.result.id };
  await upload(tenant, { name: "web", code: WEB, isolation: "shared" });
  const token = await callApi(platform, "POST", `/accounts/${tenant.accountId}/tokens`, {
    name: "prometheus",
    access: "read",
  });
  tenant.token = token.result.value;
  // They come after the others, whose place they cannot take.
  for (const name of ["late-1", "late-2"]) {
    await upload(platform, { name, code: PLAIN, isolation: "shared" });
  }
});
afterAll(() => platform?.stop());

/** Calls the worker so often; some at once. */
async function callMany(name: string, path: string, count: number, subdomain?: string) {
  for (let left = count; left > 0; left -= 8) {
    const calls = Array.from({ length: Math.min(8, left) }, () =>
      callWorker(platform, name, path, subdomain),
    );
    for (const { status } of await Promise.all(calls)) {
      expect(status).toBe(path === "/throw" ? 500 : 200);
    }
  }
}

/** The metrics when the invocations, of which there are so many, have ended with all that they left. */
async function metricsWith(invocations: number): Promise<Metrics> {
  let read: Metrics = new Map();
  await until(async () => {
    read = await metrics();
    return (sumOf(read, INVOCATIONS) ?? 0) >= invocations;
  }, COUNTED_WITHIN_MS);
  return read;
}

/** All counters and their values. Of histograms, all but the sums of times. */
const countersOf = (read: Metrics): [series: string, value: number][] =>
  [...read.values()]
    .filter(({ type }) => type !== "gauge")
    .flatMap(({ series }) => series)
    .map(({ name, labels, value }) => [`${name}{${toText(labels)}}`, value]);

describe("invocations", () => {
  let read: Metrics;
  beforeAll(async () => {
    await callMany("web", "/", 40);
    await callMany("web", "/throw", 7);
    await callMany("web", "/slow", 5);
    await callMany("web", "/kv", 3);
    await callMany("own", "/", 12);
    await callMany("caller", "/add", 9);
    await callMany("caller", "/fail", 2);
    await callMany("caller", "/send", 4);
    for (let count = 0; count < 2; count++) {
      await account(platform, "POST", `/queues/${jobs}/messages`, {
        body: "again",
        content_type: "text",
      });
    }
    for (let count = 0; count < 3; count++) {
      await beginRun(platform, "cron", NEVER);
      expect(await endedRun(platform, "cron")).toMatchObject({ outcome: "ok" });
    }
    await callMany("web", "/", 6, "other");
    // 40 + 7 + 5 + 3 of web, 12 of own, 15 of caller, 11 calls of methods, 8 batches, 3 runs, 6 of the tenant's.
    await metricsWith(110);
    await callMany("late-1", "/", 2);
    await callMany("late-2", "/", 3);
    read = await metricsWith(115);
  });

  const count = (name: string, labels: Record<string, string> = {}): number | undefined =>
    sumOf(read, name, labels);
  const invocations = (script: string, trigger: string, outcome: string): number | undefined =>
    count(INVOCATIONS, { ...dev(script), trigger, outcome });

  it("are counted by script, trigger and outcome, exactly", () => {
    expect(invocations("web", "fetch", "ok")).toBe(48);
    expect(invocations("web", "fetch", "exception")).toBe(7);
    expect(invocations("own", "fetch", "ok")).toBe(12);
    expect(invocations("caller", "fetch", "ok")).toBe(15);
    expect(invocations("web", "rpc", "ok")).toBe(9);
    expect(invocations("web", "rpc", "exception")).toBe(2);
    expect(invocations("consumer", "queue", "ok")).toBe(8);
    expect(invocations("cron", "scheduled", "ok")).toBe(3);
    expect(count(INVOCATIONS, { account: "other", script: "web" })).toBe(6);
    expect(count(INVOCATIONS)).toBe(115);
  });

  it("are counted by the isolate that they began in", () => {
    const cold = count(INVOCATIONS, { ...dev("own"), start: "cold" }) ?? 0;
    const spare = count(INVOCATIONS, { ...dev("own"), start: "spare" }) ?? 0;
    expect(cold + spare).toBe(12);
    // One isolate in each executor, for each kind of work.
    const first = count(INVOCATIONS, { ...dev("web"), start: "cold" }) ?? 0;
    expect(first).toBeLessThanOrEqual(4);
    expect(count(INVOCATIONS, { ...dev("web"), start: "warm" })).toBe(66 - first);
    expect(count("mayfly_isolates_started_total", { kind: "request" })).toBeGreaterThan(11);
  });

  it("of scripts beyond the number that have series are counted together", () => {
    expect(count(INVOCATIONS, { script: "other" })).toBe(5);
    const labels = read.get(INVOCATIONS)?.series.map((series) => series.labels);
    const scripts = labels?.map(({ account, script }) => `${account}/${script}`);
    expect(new Set(scripts).size).toBe(OWN_SERIES + 1);
    expect(scripts).toContain("undefined/other");
  });

  it("have their wall time counted", () => {
    expect(count(DURATION)).toBe(115);
    const series = read
      .get(DURATION)
      ?.series.filter(({ labels }) => labels["script"] === "web" && labels["trigger"] === "fetch")
      .filter(({ labels }) => labels["account"] === "dev");
    const value = (name: string, le?: string): number | undefined =>
      series?.find((line) => line.name === DURATION + name && line.labels["le"] === le)?.value;
    expect(value("_bucket", "0.1")).toBeLessThanOrEqual(50);
    expect(value("_bucket", "30")).toBe(55);
    expect(value("_bucket", "+Inf")).toBe(55);
    expect(value("_count")).toBe(55);
    // Timers may be a little early.
    expect(value("_sum")).toBeGreaterThan(0.5);
  });

  it("have what they do counted", () => {
    const operation = "mayfly_binding_operations_total";
    expect(count(operation, { ...dev("web"), operation: "kv.put" })).toBe(3);
    expect(count(operation, { ...dev("web"), operation: "kv.get" })).toBe(3);
    expect(count(operation, { ...dev("web"), operation: "d1.query" })).toBe(3);
    expect(count(operation, { ...dev("caller"), operation: "queue.send" })).toBe(4);
    expect(count("mayfly_subrequests_total", dev("caller"))).toBe(11);
    expect(count("mayfly_response_bytes_total", dev("own"))).toBe(24);
    expect(count("mayfly_shard_call_duration_seconds", { call: "d1" })).toBe(3);
    const call = "mayfly_state_call_duration_seconds";
    expect(count(call, { call: "kv" })).toBe(6);
    expect(count(call, { call: "queue" })).toBe(4);
    for (const name of ["resolve", "load", "report"]) {
      expect(count(call, { call: name }), name).toBeGreaterThan(0);
    }
  });

  it("are as many as the usage that is billed, and took as much", async () => {
    for (const [access, name] of [
      [platform, "dev"],
      [tenant, "other"],
    ] as const) {
      const { rows } = await account<Usage>(access, "GET", "/mayfly/usage?by=script");
      expect(rows).toHaveLength(name === "dev" ? 7 : 1);
      for (const { script_name: script = "", ...used } of rows) {
        if (script.startsWith("late")) continue;
        const labels = { account: name, script };
        expect(count(INVOCATIONS, labels), script).toBe(used.invocations);
        expect(count("mayfly_subrequests_total", labels), script).toBe(used.subrequests);
        expect(count("mayfly_response_bytes_total", labels), script).toBe(used.response_bytes);
        const seconds = read
          .get(DURATION)
          ?.series.filter((line) => line.name.endsWith("_sum") && line.labels["script"] === script)
          .filter(({ labels }) => labels["account"] === name)
          .map(({ value }) => value);
        const ms = seconds?.reduce((sum, value) => sum + value * 1000, 0);
        expect(ms, script).toBeCloseTo(used.wall_time_ms, 3);
      }
    }
    expect(count("mayfly_invocation_cpu_seconds_total")).toBeGreaterThan(0);
  });

  it("are counted also when they are events: batches, messages and runs", () => {
    expect(count("mayfly_events_total", { source: "queue", outcome: "ok" })).toBe(8);
    expect(count("mayfly_events_total", { source: "cron", outcome: "ok" })).toBe(3);
    expect(count("mayfly_queue_messages_sent_total", { source: "binding" })).toBe(4);
    expect(count("mayfly_queue_messages_sent_total", { source: "api" })).toBe(2);
    const settled = "mayfly_queue_messages_settled_total";
    expect(count(settled, { outcome: "acknowledged" })).toBe(6);
    expect(count(settled, { outcome: "retried" })).toBe(2);
    expect(count(settled, { outcome: "givenUp" })).toBe(0);
  });

  it("that have ended leave none in flight", () => {
    expect(count("mayfly_invocations_in_flight")).toBe(0);
    expect(count("mayfly_isolates", { process: "executor-1" })).toBeGreaterThan(0);
    expect(count("mayfly_executors")).toBe(2);
    expect(count("mayfly_shards")).toBe(1);
  });
});

describe("a killed executor", () => {
  it("takes no count with it that had been read, and is counted itself", async () => {
    const before = await metrics();
    const pids = [1, 2].map((number) => pidOf(platform, `executor-${number}` as "executor-1"));
    killExecutors(platform);
    await until(() => !pids.some(isAlive), 5_000);
    await callMany("own", "/", 5);
    const count = (sumOf(before, INVOCATIONS) ?? 0) + 5;
    const after = await metricsWith(count);
    expect(sumOf(after, INVOCATIONS)).toBe(count);

    const values = new Map(countersOf(after));
    for (const [series, value] of countersOf(before)) {
      expect(values.get(series), series).toBeGreaterThanOrEqual(value);
    }
    await until(async () => {
      const read = await metrics();
      return ["executor-1", "executor-2"].every(
        (process) =>
          sumOf(read, "mayfly_process_restarts_total", { process, reason: "crash" }) === 1,
      );
    }, COUNTED_WITHIN_MS);
    expect(sumOf(await metrics(), "mayfly_process_restarts_total", { process: "state" })).toBe(0);
  });

  it("is not one that was replaced", async () => {
    expect(await platform.mayfly(["reload"])).toMatchObject({ code: 0 });
    await until(
      async () =>
        sumOf(await metrics(), "mayfly_process_restarts_total", { reason: "replaced" }) === 2,
      COUNTED_WITHIN_MS,
    );
  });
});

describe("processes", () => {
  it("have their memory and their CPU time counted", async () => {
    for (const process of ["state", "shard-1", "quarantine", "executor-1", "executor-2"]) {
      const read = await metrics();
      expect(sumOf(read, "mayfly_process_memory_bytes", { process }), process).toBeGreaterThan(1e6);
      const seconds = sumOf(read, "mayfly_process_cpu_seconds_total", { process });
      expect(seconds, process).toBeGreaterThan(0);
      expect(seconds, process).toBeLessThan(120);
    }
  });
});

describe("errors that the platform answers with", () => {
  it("are counted by status and code", async () => {
    const notFound = { trigger: "fetch", status: "404", code: "host_not_found" };
    const errors = async (): Promise<number> =>
      sumOf(await metrics(), "mayfly_error_answers_total", notFound) ?? 0;
    const before = await errors();
    for (let count = 0; count < 3; count++) {
      expect((await platform.fetchHost("nobody.dev.localhost")).status).toBe(404);
    }
    expect((await errors()) - before).toBe(3);
    const thrown = { trigger: "fetch", status: "500", code: "worker_exception" };
    expect(sumOf(await metrics(), "mayfly_error_answers_total", thrown)).toBe(7);
  });
});

const heldIs = async (name: string): Promise<number | undefined> =>
  sumOf(await metrics(), name, { account: "dev", queue: "held" });

describe("queues", () => {
  it("show what waits in them, and how long it has", async () => {
    expect(await heldIs("mayfly_queue_backlog_messages")).toBe(0);
    expect(await heldIs("mayfly_queue_oldest_message_age_seconds")).toBe(0);
    for (const body of ["one", "two", "three"]) {
      const message = { body, content_type: "text" };
      await account(platform, "POST", `/queues/${held}/messages`, message);
    }
    expect(await heldIs("mayfly_queue_backlog_messages")).toBe(3);
    expect(await heldIs("mayfly_queue_backlog_bytes")).toBe("onetwothree".length);
    await until(
      async () => ((await heldIs("mayfly_queue_oldest_message_age_seconds")) ?? 0) > 0.1,
      5_000,
    );
    await account(platform, "POST", `/queues/${held}/purge`, {
      delete_messages_permanently: true,
    });
    expect(await heldIs("mayfly_queue_backlog_messages")).toBe(0);
    expect(await heldIs("mayfly_queue_oldest_message_age_seconds")).toBe(0);
  });
});

describe("a token", () => {
  it("of another account shows that account's scripts and nothing else", async () => {
    const read = await readMetrics(platform, tenant.token);
    const accounts = [...read.values()].flatMap(({ series }) =>
      series.map(({ labels }) => labels["account"]),
    );
    expect(new Set(accounts)).toEqual(new Set(["other"]));
    expect(sumOf(read, INVOCATIONS)).toBe(6);
  });

  it("is needed", async () => {
    for (const token of ["", "Bearer nonsense"]) {
      const response = await fetch(`${platform.url}/_mayfly/metrics`, {
        headers: token ? { authorization: token } : {},
      });
      expect(response.status).toBe(401);
    }
  });
});

describe("crons that missed a slot while the platform was down", () => {
  it("are counted, and those that are caught up", async () => {
    const code = EVENTS;
    await deployCronWorker(platform, { name: "passed", code, crons: [NEVER], catchUp: "none" });
    await platform.kill();
    const missedAt = Date.now() - 10 * 60_000;
    const sql = "UPDATE crons SET next_at = ? WHERE script_name IN ('cron', 'passed')";
    expect(changeScheduler(platform, sql, missedAt)).toBe(2);
    platform = await startPlatform({ dataDir: platform.dataDir, env: { MAYFLY_EXECUTORS: "1" } });
    await until(
      async () => sumOf(await metrics(), "mayfly_events_total", { source: "cron" }) === 1,
      COUNTED_WITHIN_MS,
    );
    const read = await metrics();
    expect(sumOf(read, "mayfly_cron_slots_missed_total")).toBe(2);
    expect(sumOf(read, "mayfly_cron_slots_caught_up_total")).toBe(1);
    expect(sumOf(read, "mayfly_cron_lateness_seconds")).toBe(1);
    expect(sumOf(read, INVOCATIONS, dev("cron"))).toBe(1);
  });
});

function namesIn(path: string): string[] {
  const text = readFileSync(join(ROOT, path), "utf8");
  return [...new Set(text.match(/\bmayfly_[a-z0-9_]+/g) ?? [])];
}

describe("the names of metrics", () => {
  it("are all told in the documentation, and no others", () => {
    const told = namesIn("docs/observability.md").map((name) => name.replace(/_bucket$/, ""));
    expect([...new Set(told)].sort()).toEqual(Object.keys(METRICS).sort());
  });

  it("that the dashboard asks for are all there", async () => {
    await callMany("web", "/kv", 1);
    await callMany("caller", "/send", 1);
    await platform.fetchHost("nobody.dev.localhost");
    const asked = namesIn("deploy/grafana-dashboard.json");
    expect(asked.length).toBeGreaterThan(25);
    let read: Metrics = new Map();
    let missing: string[] = [];
    // The supervisor speaks every two seconds.
    await until(async () => {
      read = await metrics();
      const series = [...read.values()].flatMap(({ series }) => series.map(({ name }) => name));
      missing = asked.filter((name) => !series.includes(name));
      return missing.length === 0;
    }, COUNTED_WITHIN_MS).catch(() => expect(missing).toEqual([]));
    expect([...read.keys()].filter((name) => !(name in METRICS))).toEqual([]);
  });
});

describe("labels", () => {
  it("may hold anything", () => {
    const account = 'a"b\\c\nd,e="f"}';
    const text = toExposition({ [INVOCATIONS]: { [toText({ account })]: 1 } });
    const [series] = readExposition(text).get(INVOCATIONS)?.series ?? [];
    expect(series).toMatchObject({ labels: { account }, value: 1 });
  });
});
