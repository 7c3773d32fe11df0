import { readFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { callApi } from "./harness/api.ts";
import { createNamespace, type CronRun } from "./harness/cron.ts";
import { Client, type Call, type ClientRequest } from "./harness/client.ts";
import { freePort, startPlatform, type Platform } from "./harness/platform.ts";
import { childrenOf, isAlive, pidOf, until } from "./harness/processes.ts";
import {
  account,
  backlogCount,
  createDatabase,
  createQueue,
  deployQueueWorker,
  query,
} from "./harness/queue.ts";
import { slowness } from "./harness/slowness.ts";
import { upload } from "./harness/upload.ts";

/** How long processes are killed; at most ten minutes. */
const CHAOS_MS = Math.min(600, Number(process.env["MAYFLY_CHAOS_SECONDS"] || 50)) * 1000;
/** Service is back after this time, after half of the kills, if the machine has nothing else to do. */
const BACK_MEDIAN_MS = 2_000;
const BACK_MAX_MS = 20_000;
const MAX_PAUSE_MS = 1_000;
const DRAINED_WITHIN_MS = 60_000;
/** What clocks and a busy machine may make of "at the moment of the kill". */
const SLACK_MS = 150;
/** Clients rest so long between two calls, and when they cannot connect. */
const REST_MS = 30;
const NEVER = "0 0 29 2 *";

// Does what its path says, with a number that is used once. Consumers and cron write down what they got.
const WORKER = `
  const DEEDS = {
    plain: () => {},
    kv: (env, n) => env.KV.put("kv-" + n, "value-" + n),
    r2: (env, n) => env.BUCKET.put("r2-" + n, "value-" + n),
    d1: (env, n) => env.DB.prepare("INSERT INTO written VALUES (?)").bind(n).run(),
    queue: (env, n) => env.QUEUE.send(n),
    loop: () => { for (;;); },
  };
  export default {
    async fetch(request, env) {
      const [, deed, n] = new URL(request.url).pathname.split("/");
      const headers = { "cf-ray": request.headers.get("cf-ray") };
      try {
        await DEEDS[deed](env, Number(n));
        return new Response("done", { headers });
      } catch (error) {
        return new Response(deed + ": " + error.message, { status: 503, headers });
      }
    },
    async queue({ queue, messages }, env) {
      const numbers = messages.map(({ body }) => queue === "changes" ? body.new.number : body);
      await env.RESULTS.prepare("INSERT INTO handled SELECT ?1, value FROM json_each(?2)")
        .bind(queue, JSON.stringify(numbers)).run();
    },
    async scheduled({ scheduledTime }, env) {
      while (true) {
        try {
          return await DEEDS.kv(env, scheduledTime);
        } catch {
          await scheduler.wait(100);
        }
      }
    },
  };`;
const CONSUMER = { batch_size: 20, max_wait_time_ms: 50, max_retries: 100, retry_delay: 1 };
const names = Array.from({ length: 10 }, (_, index) => `worker-${index}`);

const folder = mkdtempSync(join(tmpdir(), "mayfly-chaos-"));
const ids = { written: "", results: "", kv: "", jobs: "", changes: "", dead: "" };
let options: { dataDir: string; env: { PORT: string; [name: string]: string } };
let platform: Platform;
/** What platforms that were killed have printed. */
let printed = "";

beforeAll(async () => {
  const env = {
    PORT: String(await freePort()),
    MAYFLY_EXECUTORS: "2",
    MAYFLY_SHARDS: "2",
    MAYFLY_CPU_MS: "1000",
  };
  options = { dataDir: join(folder, "data"), env };
  platform = await startPlatform(options);
  // Each new one goes to the shard that has the fewest.
  ids.written = await createDatabase(platform, "written");
  ids.results = await createDatabase(platform, "results");
  await query(platform, ids.written, "CREATE TABLE written (number INTEGER PRIMARY KEY)");
  await query(platform, ids.results, "CREATE TABLE handled (queue TEXT, number INTEGER)");
  ids.kv = await createNamespace(platform, "kv");
  await account(platform, "POST", "/r2/buckets", { name: "bucket" });
  ids.dead = await createQueue(platform, "dead");
  ids.jobs = await createQueue(platform, "jobs");
  ids.changes = await createQueue(platform, "changes");
  await account(platform, "POST", "/mayfly/database-subscriptions", {
    database_id: ids.written,
    table: "written",
    queue_name: "changes",
  });
  const bindings = [
    { type: "kv_namespace", name: "KV", namespace_id: ids.kv },
    { type: "r2_bucket", name: "BUCKET", bucket_name: "bucket" },
    { type: "d1", name: "DB", id: ids.written },
    { type: "d1", name: "RESULTS", id: ids.results },
    { type: "queue", name: "QUEUE", queue_name: "jobs" },
  ];
  for (const [index, name] of names.entries()) {
    const isolation = index % 2 === 0 ? "request" : "shared";
    const queueId = [ids.jobs, ids.changes][index];
    const consumes = queueId ? [{ queueId, deadLetterQueue: "dead", settings: CONSUMER }] : [];
    await deployQueueWorker(platform, { name, code: WORKER, isolation, bindings, consumes });
  }
  const path = "/workers/scripts/worker-2/schedules";
  await account(platform, "PUT", path, [{ cron: NEVER }]);
  const long = { limits: { cpu_ms: 10_000 }, mayfly: { isolation: "shared" } };
  await upload(platform, { name: "long", code: WORKER, isolation: "shared", metadata: long });
  await upload(platform, { name: "apart", code: WORKER, isolation: "shared" });
  await upload(platform, { name: "deployed", code: deployed(0), isolation: "shared" });
  // It ends its executor, and runs apart from then on.
  const offender = new Client(platform.port, "apart.dev.localhost");
  expect(await offender.call({ path: "/loop" })).toMatchObject({ status: 0 });
  offender.close();
  // Kept connections may be to that one.
  const asking = new Client(platform.port, "localhost", false);
  const apart = await asking.call(apiRequest("GET", "/mayfly/apart"));
  expect(JSON.parse(apart.text).result).toMatchObject([{ script_name: "apart" }]);
  asking.close();
});
afterAll(async () => {
  await platform?.stop();
  rmSync(folder, { recursive: true, force: true });
});

type Kind = "plain" | "kv" | "r2" | "d1" | "queue" | "api" | "cron" | "deploy" | "apart" | "long";
interface Attempt extends Call {
  kind: Kind;
}

interface Kill {
  target: string;
  at: number;
  /** How many attempts were over by then. */
  after: number;
}

const load = { goesOn: true, next: 1 };
const attempts: Attempt[] = [];
const kills: Kill[] = [];
/** Numbers, or times of runs, that the platform has said yes to. */
const acknowledged = {
  kv: [] as number[],
  r2: [] as number[],
  d1: [] as number[],
  queue: [] as number[],
  cron: [] as number[],
  deploy: [] as number[],
};

/** Deployments that were not seen although they had been acknowledged. */
const stale: string[] = [];

async function attempt(
  kind: Kind,
  client: Client,
  request: ClientRequest,
  said?: number[],
  number = 0,
): Promise<Call> {
  const call = await client.call(request);
  attempts.push({ ...call, kind });
  if (call.status === 200) said?.push(number);
  await sleep(call.status === 200 ? REST_MS : 2 * REST_MS);
  return call;
}

/** A client of a worker that does one thing after the other. */
async function use(host: string, kinds: Kind[], turn: number): Promise<void> {
  const client = new Client(platform.port, `${host}.dev.localhost`);
  for (; load.goesOn; turn++) {
    const kind = kinds[turn % kinds.length] as Kind;
    const number = load.next++;
    const deed = kind in acknowledged || kind === "plain" ? kind : "plain";
    const said = acknowledged[kind as keyof typeof acknowledged];
    await attempt(kind, client, { path: `/${deed}/${number}` }, said, number);
  }
  client.close();
}

/** A request of the API within the account. */
function apiRequest(method: string, path: string, body?: unknown): ClientRequest {
  return {
    method,
    path: `/client/v4/accounts/${platform.accountId}${path}`,
    headers: { authorization: `Bearer ${platform.token}` },
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  };
}

async function useApi(): Promise<void> {
  const client = new Client(platform.port, "localhost");
  for (let turn = 0; load.goesOn; turn++) {
    const number = load.next++;
    if (turn % 2 === 0) {
      const message = { body: number, content_type: "json" };
      const push = apiRequest("POST", `/queues/${ids.jobs}/messages`, message);
      await attempt("api", client, push, acknowledged.queue, number);
    } else {
      const path = `/storage/kv/namespaces/${ids.kv}/values/kv-${number}`;
      await attempt(
        "api",
        client,
        apiRequest("PUT", path, `value-${number}`),
        acknowledged.kv,
        number,
      );
    }
  }
  client.close();
}

async function runCrons(): Promise<void> {
  const client = new Client(platform.port, "localhost");
  while (load.goesOn) {
    const scheduled_time = Date.now();
    const run = { script_name: "worker-2", cron: NEVER, scheduled_time };
    const request = apiRequest("POST", "/mayfly/cron-runs", run);
    await attempt("cron", client, request, acknowledged.cron, scheduled_time);
    await sleep(500);
  }
  client.close();
}

/** Deploys again and again, and sees to it that each deployment is seen at once. */
async function deployAgain(): Promise<void> {
  const client = new Client(platform.port, "localhost");
  const visitor = new Client(platform.port, "deployed.dev.localhost", false);
  while (load.goesOn) {
    const number = load.next++;
    const form = new FormData();
    const metadata = {
      main_module: "index.js",
      compatibility_date: "2026-07-01",
      mayfly: { isolation: "shared" },
    };
    form.set("metadata", JSON.stringify(metadata));
    const type = "application/javascript+module";
    form.set("index.js", new File([deployed(number)], "index.js", { type }));
    const encoded = new Response(form);
    const put = apiRequest("PUT", "/workers/scripts/deployed", await encoded.text());
    Object.assign(put.headers as object, { "content-type": encoded.headers.get("content-type") });
    const { status } = await attempt("deploy", client, put, acknowledged.deploy, number);
    if (status === 200) {
      const seen = await visitor.call();
      if (seen.status === 200 && seen.text !== String(number))
        stale.push(`${seen.text} for ${number}`);
    }
    await sleep(500);
  }
  client.close();
  visitor.close();
}

const deployed = (number: number): string =>
  `export default { fetch: () => new Response("${number}") };`;

/** A process with all that it has started. */
const withDescendants = (pid: number): number[] => [
  pid,
  ...childrenOf(pid).flatMap(withDescendants),
];

const guardianPid = (): number | undefined =>
  childrenOf(platform.process.pid as number).find((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("guardian"),
  );

const IN_ONE_PROCESS: Kind[] = ["plain", "kv", "r2", "d1", "queue"];
const OF_THE_API: Kind[] = ["api", "cron", "deploy"];
const KEPT_BY_STATE: Kind[] = ["kv", "r2", "queue", ...OF_THE_API];

/** What can be killed, and which attempts it may make fail that are made while it is away. */
const TARGETS: Record<string, { pids: () => (number | undefined)[]; concerns: Kind[] | "all" }> = {
  "executor-1": { pids: () => [pidOf(platform, "executor-1")], concerns: [] },
  "executor-2": { pids: () => [pidOf(platform, "executor-2")], concerns: [] },
  "both executors": {
    pids: () => [pidOf(platform, "executor-1"), pidOf(platform, "executor-2")],
    concerns: [],
  },
  "executor-apart": { pids: () => [pidOf(platform, "executor-apart")], concerns: ["apart"] },
  "executor-long": { pids: () => [pidOf(platform, "executor-long")], concerns: ["long"] },
  state: { pids: () => [pidOf(platform, "state")], concerns: KEPT_BY_STATE },
  "state's runtime": {
    pids: () => childrenOf(pidOf(platform, "state")).slice(0, 1),
    concerns: KEPT_BY_STATE,
  },
  "shard-1": { pids: () => [pidOf(platform, "shard-1")], concerns: ["d1"] },
  "shard-2": { pids: () => [pidOf(platform, "shard-2")], concerns: [] },
  quarantine: { pids: () => [pidOf(platform, "quarantine")], concerns: ["deploy"] },
  guardian: { pids: () => [guardianPid()], concerns: [] },
  supervisor: { pids: () => [platform.process.pid], concerns: "all" },
  "the whole group": {
    pids: () => withDescendants(platform.process.pid as number),
    concerns: "all",
  },
};
const ENDS_ALL = ["supervisor", "the whole group"];
const ENDS_CONNECTIONS = ["executor-1", "executor-2", "both executors", ...ENDS_ALL];

/** None if it is just being started again. */
function pidsOf(target: string): number[] {
  try {
    const pids = TARGETS[target]?.pids() ?? [];
    return pids.filter((pid) => pid !== undefined && isAlive(pid)) as number[];
  } catch {
    return [];
  }
}

async function kill(target: string): Promise<void> {
  const pids = pidsOf(target);
  if (pids.length === 0) return;
  kills.push({ target, at: Date.now(), after: attempts.length });
  for (const pid of pids) process.kill(pid, "SIGKILL");
  if (!ENDS_ALL.includes(target)) return;
  await platform.kill();
  printed += platform.output();
  platform = await startPlatform(options);
}

const KINDS: Kind[] = ["plain", "kv", "r2", "d1", "queue", "api", "apart", "long"];

/** When each kind of work was done again that had been begun after the kill; undefined if not yet. */
function backAt({ at, after }: Kill): number | undefined {
  const since = attempts.slice(after);
  const firsts = KINDS.map((kind) =>
    since.find((one) => one.kind === kind && one.status === 200 && one.startedAt >= at),
  );
  if (firsts.includes(undefined)) return undefined;
  return Math.max(...firsts.map((first) => (first as Attempt).endedAt));
}

function shuffled<T>(items: T[]): T[] {
  return items
    .map((item) => ({ item, key: Math.random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);
}

/** Kills all targets in a random order, and again, until the time is over. */
async function cause(untilMs: number): Promise<void> {
  for (let round = 1; ; round++) {
    for (const target of shuffled(Object.keys(TARGETS))) {
      await kill(target);
      const last = kills.at(-1);
      // Now and then the next one comes while this one is still away.
      if (last && Math.random() < 0.8) await until(() => backAt(last) !== undefined, BACK_MAX_MS);
      await sleep(Math.random() * MAX_PAUSE_MS);
      if (round > 1 && Date.now() > untilMs) return;
    }
    if (Date.now() > untilMs) return;
  }
}

const median = (numbers: number[]): number =>
  numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? NaN;

/** Whether the failure is one that the kill may have caused. */
function isExplained(failure: Attempt, kill: Kill, back: number): boolean {
  const { kind, startedAt, endedAt, status } = failure;
  const { target, at } = kill;
  const { concerns } = TARGETS[target] as (typeof TARGETS)[string];
  const isConcerned = concerns === "all" || concerns.includes(kind);
  if (endedAt < at) return false;
  if (status === 503) return isConcerned && startedAt < back;
  // A connection ended, or an answer broke off: it was in flight when its process died.
  if (startedAt > at + SLACK_MS) return ENDS_ALL.includes(target) && startedAt < back;
  return isConcerned || ENDS_CONNECTIONS.includes(target);
}

test(
  "nothing that was acknowledged is lost, and service is back soon, whatever is killed",
  { timeout: CHAOS_MS + 180_000 },
  async () => {
    const works: Kind[] = ["plain", "kv", "r2", "d1", "queue"];
    const clients = [
      ...names.map((name, index) => use(name, works, index)),
      use("apart", ["apart"], 0),
      use("long", ["long"], 0),
      useApi(),
      runCrons(),
      deployAgain(),
    ];
    await until(() => backAt({ target: "", at: 0, after: 0 }) !== undefined, BACK_MAX_MS);
    await cause(Date.now() + CHAOS_MS);
    for (const one of kills) await until(() => backAt(one) !== undefined, BACK_MAX_MS);
    await sleep(1_000);
    load.goesOn = false;
    await Promise.all(clients);

    const outages = kills.map((one) => ({ ...one, ms: (backAt(one) ?? Infinity) - one.at }));
    const failures = attempts.filter(({ status }) => status !== 200);
    const unexplained = failures.filter(
      (failure) => !outages.some((one) => isExplained(failure, one, one.at + one.ms)),
    );
    // A process that ended connections is dead. (Answers from lanes and state may break off in others.)
    const undead = failures.filter(
      ({ kind, status, process, endedAt }) =>
        status === 0 &&
        process !== undefined &&
        IN_ONE_PROCESS.includes(kind) &&
        attempts.some((later) => later.process === process && later.startedAt > endedAt),
    );
    report(outages, failures);

    expect(stale).toEqual([]);
    for (const { kind, code, text } of failures) {
      if (code !== "state_unavailable") continue;
      expect(OF_THE_API).toContain(kind);
      expect(JSON.parse(text)).toMatchObject({ success: false, errors: [{ code: 10013 }] });
    }
    expect(undead).toEqual([]);
    expect(unexplained).toEqual([]);
    expect(median(outages.map(({ ms }) => ms))).toBeLessThan(BACK_MEDIAN_MS * slowness());
    expect(Math.max(...outages.map(({ ms }) => ms))).toBeLessThan(BACK_MAX_MS);
    expect(new Set(kills.map(({ target }) => target)).size).toBe(Object.keys(TARGETS).length);

    await checkCrons();
    await checkWrites();
    await checkMessages();
    const visitor = new Client(platform.port, "deployed.dev.localhost");
    const last = acknowledged.deploy.at(-1) ?? 0;
    expect(Number((await visitor.call()).text)).toBeGreaterThanOrEqual(last);
    visitor.close();
  },
);

function report(outages: (Kill & { ms: number })[], failures: Attempt[]): void {
  const byTarget = Object.keys(TARGETS).map((target) => {
    const times = outages.filter((one) => one.target === target).map(({ ms }) => ms);
    return `${target}: ${times.length}, back in ${median(times)} ms (${Math.max(...times)})`;
  });
  const counts = new Map<string, number>();
  for (const { status, code, kind, text } of failures) {
    const what = `${status} ${code ?? text.replace(/:\d+$/, "").slice(0, 60)} (${kind})`;
    counts.set(what, (counts.get(what) ?? 0) + 1);
  }
  const slowest = Math.max(...attempts.map(({ startedAt, endedAt }) => endedAt - startedAt));
  const failed = [...counts].toSorted().map(([what, count]) => `${what}: ${count}`);
  const yes = Object.entries(acknowledged).map(([kind, { length }]) => `${kind} ${length}`);
  console.log(
    [
      `${outages.length} kills, median ${median(outages.map(({ ms }) => ms))} ms; ${attempts.length} calls, ${failures.length} failed, slowest ${slowest} ms; others slow it down ${slowness().toFixed(1)} times`,
      ...byTarget,
      `acknowledged: ${yes.join(", ")}`,
      `failed: ${failed.join("; ")}`,
    ].join("\n"),
  );
}

const missing = (wanted: number[], found: Set<number>): number[] =>
  wanted.filter((number) => !found.has(number));

/** Reads everything there is, as a worker does. */
async function checkWrites(): Promise<void> {
  const reader = `
    export default {
      async fetch(request, env) {
        const found = [];
        if (new URL(request.url).pathname === "/kv") {
          for (let cursor; ;) {
            const { keys, list_complete, cursor: next } = await env.KV.list({ prefix: "kv-", cursor });
            for (let i = 0; i < keys.length; i += 100) {
              const values = await env.KV.get(keys.slice(i, i + 100).map(({ name }) => name));
              for (const [key, value] of values) found.push([key, value]);
            }
            if (list_complete) break;
            cursor = next;
          }
        } else {
          for (let cursor; ;) {
            const { objects, truncated, cursor: next } = await env.BUCKET.list({ cursor });
            for (const { key, size } of objects) found.push([key, size]);
            if (!truncated) break;
            cursor = next;
          }
        }
        return Response.json(found);
      },
    };`;
  await deployQueueWorker(platform, {
    name: "reader",
    code: reader,
    isolation: "shared",
    bindings: [
      { type: "kv_namespace", name: "KV", namespace_id: ids.kv },
      { type: "r2_bucket", name: "BUCKET", bucket_name: "bucket" },
    ],
  });
  const read = async (path: string, value: (number: string) => unknown): Promise<Set<number>> => {
    const response = await platform.fetchHost("reader.dev.localhost", path);
    const found = (await response.json()) as [string, unknown][];
    const right = found.filter(([key, was]) => was === value(key.slice(3)));
    expect(right).toHaveLength(found.length);
    return new Set(found.map(([key]) => Number(key.slice(3))));
  };
  const kv = await read("/kv", (number) => `value-${number}`);
  expect(missing(acknowledged.kv, kv)).toEqual([]);
  expect(missing(acknowledged.cron, kv)).toEqual([]);
  const r2 = await read("/r2", (number) => `value-${number}`.length);
  expect(missing(acknowledged.r2, r2)).toEqual([]);
  expect(missing(acknowledged.d1, await numbers(ids.written, "written"))).toEqual([]);
  for (const numbers of Object.values(acknowledged)) expect(numbers.length).toBeGreaterThan(10);
}

async function numbers(database: string, from: string): Promise<Set<number>> {
  const rows = await query<{ number: number }>(platform, database, `SELECT number FROM ${from}`);
  return new Set(rows.map(({ number }) => number));
}

async function checkMessages(): Promise<void> {
  const handled = (queue: string): Promise<Set<number>> =>
    numbers(ids.results, `handled WHERE queue = '${queue}'`);
  // Whatever is in the table must be told, also if nobody was told that it is.
  const written = [...(await numbers(ids.written, "written"))];
  await until(
    async () => missing(written, await handled("changes")).length === 0,
    DRAINED_WITHIN_MS,
  );
  for (const queueId of [ids.jobs, ids.changes]) {
    await until(async () => (await backlogCount(platform, queueId)) === 0, DRAINED_WITHIN_MS);
  }
  expect(missing(acknowledged.queue, await handled("jobs"))).toEqual([]);
  expect(await backlogCount(platform, ids.dead)).toBe(0);
}

async function checkCrons(): Promise<void> {
  // The last 100 are kept; each run has left something to be read.
  const path = `/accounts/${platform.accountId}/mayfly/cron-runs?script=worker-2`;
  const runs = async () => (await callApi(platform, "GET", path)).result as CronRun[];
  await until(
    async () => (await runs()).every(({ ended_at }) => ended_at !== null),
    DRAINED_WITHIN_MS,
  );
  expect(new Set((await runs()).map(({ outcome }) => outcome))).toEqual(new Set(["ok"]));
}
