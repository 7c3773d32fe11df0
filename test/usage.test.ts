import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Sums, UsageRow } from "../src/usage/rows.ts";
import { callApi, type Answer } from "./harness/api.ts";
import { Client, type Call } from "./harness/client.ts";
import { beginRun, createNamespace, deployCronWorker, endedRun } from "./harness/cron.ts";
import { meanwhile } from "./harness/meanwhile.ts";
import { metric } from "./harness/metrics.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { pidOf, until } from "./harness/processes.ts";
import { createDatabase, createQueue, deployQueueWorker, query } from "./harness/queue.ts";
import { upload } from "./harness/upload.ts";

/** What docs/usage.md promises of an executor that is killed, and what a slow machine adds. */
const LOST_AT_MOST_MS = 1_000 + 1_000;
/** Others answer in this time, on a slow machine as well. */
const ANSWERS_WITHIN_MS = 1_000;
const COUNTED_WITHIN_MS = 20_000;
const BODY = "0123456789";
const ANSWER = "hello";

const FETCHED = `export default {
  async fetch(request) {
    if (request.method === "POST") await request.arrayBuffer();
    const headers = { "cf-ray": request.headers.get("cf-ray") };
    return new Response("${ANSWER}", { headers });
  },
};`;
const THROWS = `export default { fetch() { throw new Error("as asked"); } };`;
const STORES = `export default {
  async fetch(request, env) {
    await env.KV.put("key", "value");
    await env.KV.get("key");
    return new Response("${ANSWER}");
  },
};`;
const CALLEE = `import { WorkerEntrypoint } from "cloudflare:workers";
export class Methods extends WorkerEntrypoint {
  add(a, b) { return a + b; }
}
export default { fetch: () => new Response("${ANSWER}") };`;
const CALLER = `export default {
  async fetch(request, env) {
    return new Response(String(await env.METHODS.add(1, 2).catch(() => "failed")));
  },
};`;
// Says in a database how often it has begun.
const NOTE = `const note = (env, kind) => env.DB.prepare("INSERT INTO begun VALUES (?)").bind(kind).run();`;
const CONSUMER = `${NOTE} export default { queue: (batch, env) => note(env, "queue") };`;
// The same work each time, however slow the machine.
const BURNS = `export default {
  fetch() {
    let sum = 0;
    for (let i = 0; i < 1_500_000; i++) sum = Math.imul(sum ^ i, 2654435761);
    return new Response(String(sum));
  },
};`;
const WAITS = `export default {
  fetch: () => scheduler.wait(200).then(() => new Response("${ANSWER}")),
};`;
const ENDLESS = "export default { fetch() { for (;;); } };";
const ENDLESS_CPU_MS = 250;
const SCHEDULED = `export default { scheduled: () => {} };`;
const NEVER = "0 0 29 2 *";

const folder = mkdtempSync(join(tmpdir(), "mayfly-usage-"));
const dataDir = join(folder, "data");
const env = { MAYFLY_EXECUTORS: "2" };
let platform: Platform;
let databaseId: string;
let queueId: string;

beforeAll(async () => {
  platform = await startPlatform({ dataDir, env });
  const kv = await createNamespace(platform, "values");
  databaseId = await createDatabase(platform, "begun");
  await query(platform, databaseId, "CREATE TABLE begun (kind TEXT)");
  queueId = await createQueue(platform, "jobs");
  await deployQueueWorker(platform, {
    name: "consumer",
    code: CONSUMER,
    isolation: "shared",
    bindings: [{ type: "d1", name: "DB", id: databaseId }],
    consumes: [{ queueId, settings: { batch_size: 5, max_wait_time_ms: 50 } }],
  });
  await deployCronWorker(platform, { name: "cron", code: SCHEDULED, crons: [NEVER] });
  const bindKv = [{ type: "kv_namespace", name: "KV", namespace_id: kv }];
  const bindMethods = [
    { type: "service", name: "METHODS", service: "callee", entrypoint: "Methods" },
  ];
  const shared = "shared" as const;
  await upload(platform, { name: "fetched", code: FETCHED, isolation: shared });
  await upload(platform, { name: "burns", code: BURNS, isolation: shared });
  await upload(platform, { name: "waits", code: WAITS, isolation: shared });
  await upload(platform, { name: "own", code: FETCHED, isolation: "request" });
  await upload(platform, { name: "throws", code: THROWS, isolation: shared });
  await upload(platform, {
    name: "stores",
    code: STORES,
    isolation: shared,
    metadata: { bindings: bindKv },
  });
  await upload(platform, { name: "callee", code: CALLEE, isolation: shared });
  await upload(platform, {
    name: "caller",
    code: CALLER,
    isolation: shared,
    metadata: { bindings: bindMethods },
  });
  await upload(platform, {
    name: "logged",
    code: FETCHED,
    isolation: shared,
    metadata: { observability: { enabled: true } },
  });
});
afterAll(async () => {
  await platform.stop();
  rmSync(folder, { recursive: true, force: true });
});

const ask = (parameters: string): Promise<Answer> =>
  callApi(platform, "GET", `/accounts/${platform.accountId}/mayfly/usage?${parameters}`);

/** Usage by script and trigger, such as "fetched/fetch". */
async function usage(parameters = ""): Promise<Map<string, UsageRow>> {
  const { result } = await ask(`by=script,trigger${parameters}`);
  const rows = result.rows as UsageRow[];
  return new Map(rows.map((row) => [`${row.script_name}/${row.trigger}`, row]));
}

/** Waits until so many invocations are counted, and then for as long as reports take that should not come. */
async function countedTo(expected: Record<string, number>): Promise<Map<string, UsageRow>> {
  const counts = async (): Promise<Record<string, number>> => {
    const rows = await usage();
    return Object.fromEntries(
      Object.keys(expected).map((key) => [key, rows.get(key)?.invocations ?? 0]),
    );
  };
  const enough = async (): Promise<boolean> => {
    const now = await counts();
    return Object.entries(expected).every(([key, count]) => (now[key] as number) >= count);
  };
  await until(enough, COUNTED_WITHIN_MS).catch(() => undefined);
  await sleep(1_200);
  expect(await counts()).toEqual(expected);
  return usage();
}

// What has been done in all, by the same keys as usage.
const done: Record<string, number> = {};
const add = (key: string, count = 1): void => void (done[key] = (done[key] ?? 0) + count);

/** What a call of the worker that was answered has been, if the worker itself was called. */
function note(name: string, { status, text, code }: Call): void {
  const ran = status === 200 || code === "worker_exception";
  if (ran) add(`${name}/fetch`);
  if (ran && name === "caller" && text === "3") add("callee/rpc");
}

interface Load {
  name: string;
  count: number;
  clients: number;
  post?: boolean;
}

/** Calls the worker so often, over connections of their own. */
async function call(
  { name, count, clients, post = false }: Load,
  isOver = (): boolean => false,
): Promise<Call[]> {
  let left = count;
  const calls: Call[] = [];
  const work = async (): Promise<void> => {
    const client = new Client(platform.port, `${name}.dev.localhost`, false);
    while (left-- > 0 && !isOver()) {
      calls.push(await client.call(post ? { method: "POST", body: BODY } : {}));
    }
    client.close();
  };
  await Promise.all(Array.from({ length: clients }, work));
  return calls;
}

async function callAndNote(load: Load): Promise<void> {
  for (const one of await call(load)) note(load.name, one);
}

async function send(messages: number): Promise<void> {
  const body = { messages: Array.from({ length: messages }, (_, body) => ({ body })) };
  const path = `/accounts/${platform.accountId}/queues/${queueId}/messages/batch`;
  const { status } = await callApi(platform, "POST", path, body);
  expect(status).toBe(200);
}

const begun = async (): Promise<number> =>
  (await query<{ n: number }>(platform, databaseId, "SELECT count(*) AS n FROM begun"))[0]?.n ?? 0;

async function allHandled(): Promise<void> {
  const path = `/accounts/${platform.accountId}/queues/${queueId}/metrics`;
  const waiting = async (): Promise<number> =>
    (await callApi(platform, "GET", path)).result.backlog_count as number;
  await until(async () => (await waiting()) === 0, COUNTED_WITHIN_MS);
  done["consumer/queue"] = await begun();
}

async function runCron(times: number): Promise<void> {
  for (let run = 0; run < times; run++) {
    await beginRun(platform, "cron", NEVER);
    const { outcome } = await endedRun(platform, "cron");
    expect(outcome).toBe("ok");
    add("cron/scheduled");
  }
}

describe("usage", { timeout: 120_000 }, () => {
  test("counts every invocation, whatever has caused it, with bytes, calls and operations", async () => {
    await Promise.all([
      callAndNote({ name: "fetched", count: 100, clients: 4, post: true }),
      callAndNote({ name: "own", count: 20, clients: 2 }),
      callAndNote({ name: "throws", count: 30, clients: 2 }),
      callAndNote({ name: "stores", count: 20, clients: 2 }),
      callAndNote({ name: "caller", count: 40, clients: 2 }),
      callAndNote({ name: "logged", count: 25, clients: 2 }),
      send(12),
      runCron(2),
    ]);
    await allHandled();
    expect(done["fetched/fetch"]).toBe(100);
    expect(done["callee/rpc"]).toBe(40);

    const rows = await countedTo(done);
    expect([...rows.keys()].sort()).toEqual(Object.keys(done).sort());
    expect(rows.get("fetched/fetch")).toMatchObject({
      errors: 0,
      request_bytes: 100 * BODY.length,
      response_bytes: 100 * ANSWER.length,
      subrequests: 0,
      operations: {},
    });
    expect(rows.get("throws/fetch")).toMatchObject({ errors: 30, response_bytes: 0 });
    expect(rows.get("stores/fetch")?.operations).toEqual({ "kv.get": 20, "kv.put": 20 });
    expect(rows.get("caller/fetch")?.subrequests).toBe(40);
    expect(rows.get("consumer/queue")?.operations).toEqual({ "d1.query": await begun() });
    for (const { wall_time_ms, gb_seconds } of rows.values()) {
      expect(gb_seconds).toBeCloseTo((wall_time_ms / 1000) * (128 / 1024), 9);
    }

    for (const [key, count] of Object.entries(done)) {
      const [script = "", trigger = ""] = key.split("/");
      const labels = { account: "dev", script, trigger };
      expect(await metric(platform, "mayfly_invocations_total", labels), key).toBe(count);
    }
    const path = `/accounts/${platform.accountId}/mayfly/logs?script=logged&limit=1000`;
    const logged = async (): Promise<number> =>
      ((await callApi(platform, "GET", path)).result as unknown[]).length;
    await until(async () => (await logged()) >= 25, COUNTED_WITHIN_MS);
    expect(await logged()).toBe(25);
  });

  test("adds up to the same, by whatever it is listed", async () => {
    const all = Object.values(done).reduce((sum, count) => sum + count);
    for (const by of ["total", "script", "version", "trigger", "minute,script", "hour", "day"]) {
      const { rows, total } = (await ask(`by=${by}`)).result as { rows: UsageRow[]; total: Sums };
      expect(rows.reduce((sum, { invocations }) => sum + invocations, 0)).toBe(all);
      expect(total.invocations).toBe(all);
    }
    const { result } = await ask("by=script,operation&script=stores");
    expect(result.rows).toEqual([
      { script_name: "stores", operation: "kv.get", count: 20 },
      { script_name: "stores", operation: "kv.put", count: 20 },
    ]);
    expect((await ask("since=2026-01-01&until=2026-01-02")).result.rows).toEqual([]);
    expect((await ask("script=none&by=script")).result.rows).toEqual([]);
  });

  test.each([
    ["by=colour", 'by: got "colour"'],
    ["by=minute,day", "one of minute, hour, day"],
    ["since=yesterday", 'since: got "yesterday"'],
    ["until=2026-13-01", 'until: got "2026-13-01"'],
    ["since=2026-11-02&until=2026-11-01", "before until"],
    ["group=script", "group: no such parameter"],
  ])("%s is refused", async (parameters, message) => {
    const answer = await ask(parameters);
    expect(answer).toMatchObject({ status: 400, code: 10001 });
    expect(answer.message).toContain(message);
  });

  test("is shown by mayfly usage", async () => {
    const shown = await platform.mayfly(["usage", "--by", "script", "--since", "24h"]);
    expect(shown.code, shown.stderr).toBe(0);
    expect(shown.stdout).toMatch(/^script name +invocations +errors +wall s/m);
    expect(shown.stdout).toMatch(/^throws +30 +30 /m);
    const json = await platform.mayfly(["usage", "--by", "script", "--json"]);
    expect(JSON.parse(json.stdout).rows).toContainEqual(
      expect.objectContaining({ script_name: "own", invocations: 20 }),
    );
    const refused = await platform.mayfly(["usage", "--by", "colour"]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('by: got "colour"');
  });

  test("loses and doubles nothing when state is killed and executors are replaced under load", async () => {
    const load = meanwhile(
      Promise.all([
        callAndNote({ name: "fetched", count: 5_000, clients: 6 }),
        callAndNote({ name: "own", count: 150, clients: 2 }),
        callAndNote({ name: "throws", count: 1_500, clients: 2 }),
        callAndNote({ name: "caller", count: 1_500, clients: 2 }),
      ]),
    );
    await send(40);
    await sleep(300);
    for (let kill = 0; kill < 2; kill++) {
      process.kill(pidOf(platform, "state"), "SIGKILL");
      await sleep(200 + Math.random() * 600);
    }
    const reloaded = await platform.mayfly(["reload"]);
    expect(reloaded.code, reloaded.stderr).toBe(0);
    await load;
    await allHandled();
    await countedTo(done);
    expect(Object.values(done).reduce((sum, count) => sum + count)).toBeGreaterThan(9_000);
  });

  test("loses at most what ended in its last moments when an executor is killed", async () => {
    const before = await usage();
    const load = { name: "fetched", count: 20_000, clients: 8 };
    let isOver = false;
    const calling = meanwhile(call(load, () => isOver));
    const others = meanwhile(callAndNote({ name: "throws", count: 200, clients: 1 }));
    await sleep(700);
    const killed = pidOf(platform, "executor-1");
    process.kill(killed, "SIGKILL");
    const killedAt = Date.now();
    await until(() => pidOf(platform, "executor-1") !== killed, COUNTED_WITHIN_MS);
    await sleep(ANSWERS_WITHIN_MS);
    isOver = true;
    const calls = await calling;
    await others;

    const answered = calls.filter(({ status }) => status === 200);
    const cut = calls.length - answered.length;
    // Which process it was is known by the ids of its invocations: it answered nothing later.
    const lost = new Set(answered.map(({ process }) => process));
    for (const { process, endedAt } of answered)
      if (endedAt > killedAt + ANSWERS_WITHIN_MS / 2) lost.delete(process);
    const lately = answered.filter(
      ({ process, endedAt }) => lost.has(process) && endedAt > killedAt - LOST_AT_MOST_MS,
    );
    const countedOf = async (): Promise<number> =>
      ((await usage()).get("fetched/fetch")?.invocations ?? 0) -
      (before.get("fetched/fetch")?.invocations ?? 0);
    const least = answered.length - lately.length;
    await until(async () => (await countedOf()) >= least, COUNTED_WITHIN_MS).catch(() => undefined);
    await sleep(1_200);
    const counted = await countedOf();
    expect(lately.length).toBeLessThan(answered.length);
    expect(counted).toBeGreaterThanOrEqual(least);
    expect(counted).toBeLessThanOrEqual(answered.length + cut);
    console.log(
      `${answered.length} answered, ${cut} cut short, ${answered.length - counted} of the last ${lately.length} lost`,
    );
  });

  test("counts once, with its CPU time, what exceeds its limit where it runs apart", async () => {
    await upload(platform, {
      name: "endless",
      code: ENDLESS,
      isolation: "shared",
      metadata: { limits: { cpu_ms: ENDLESS_CPU_MS } },
    });
    // The first ones end their executors, with which their counts are lost.
    let counted = 0;
    for (let tries = 0; counted < 1 && tries < 10; tries++) {
      const [answer] = await call({ name: "endless", count: 1, clients: 1 });
      if (answer?.code === "exceeded_resources") counted++;
    }
    expect(counted).toBe(1);
    const rows = await countedTo({ "endless/fetch": counted });
    expect(rows.get("endless/fetch")).toMatchObject({
      errors: counted,
      cpu_time_ms: counted * ENDLESS_CPU_MS,
    });
  });

  test("knows the CPU time of an executor's workers, and next to none of who only waits", async () => {
    await Promise.all([
      call({ name: "burns", count: 10, clients: 2 }),
      call({ name: "waits", count: 4, clients: 4 }),
    ]);
    await sleep(1_200);
    const before = await usage();
    const usedBefore = threadsMs();
    await Promise.all([
      call({ name: "burns", count: 200, clients: 2 }),
      call({ name: "waits", count: 12, clients: 6 }),
    ]);
    const used = threadsMs() - usedBefore;
    const cpuOf = async (name: string): Promise<number> =>
      ((await usage()).get(`${name}/fetch`)?.cpu_time_ms ?? 0) -
      (before.get(`${name}/fetch`)?.cpu_time_ms ?? 0);
    // Reports come twice a second.
    await sleep(1_500);
    const [burns, waits] = [await cpuOf("burns"), await cpuOf("waits")];
    console.log(
      `threads ${used.toFixed()} ms, burns ${burns.toFixed()} ms, waits ${waits.toFixed()} ms`,
    );
    expect(burns).toBeGreaterThan(0.7 * used);
    expect(burns + waits).toBeLessThan(1.05 * used + 20);
    expect(waits).toBeLessThan(0.25 * burns);
  });

  test("makes old minutes hours and old hours days, and changes no sum", async () => {
    await platform.stop();
    const db = new DatabaseSync(fileOfUsage());
    for (const table of ["usage", "usage_operations"]) {
      // Weeks and years ago, and the same again some minutes later.
      const days = "CASE trigger WHEN 'rpc' THEN 500 ELSE 20 END";
      const names = db.prepare("SELECT name FROM pragma_table_info(?)").all(table);
      const columns = names.map(({ name }) => (name === "minute" ? "minute + 7" : String(name)));
      db.exec(`UPDATE ${table} SET minute = minute - 1440 * ${days}`);
      db.exec(`INSERT OR IGNORE INTO ${table} SELECT ${columns.join(", ")} FROM ${table}`);
    }
    const stored = db.prepare("SELECT sum(invocations) AS n FROM usage").get()?.["n"] as number;
    db.close();
    platform = await startPlatform({ dataDir, env });
    await call({ name: "fetched", count: 1, clients: 1 });
    let rolledUp: UsageRow[] = [];
    await until(async () => {
      rolledUp = (await ask("by=trigger,minute&since=2000d&until=2d")).result.rows as UsageRow[];
      return rolledUp.every(({ minute }) => minute?.endsWith(":00:00.000Z"));
    }, COUNTED_WITHIN_MS);
    expect(rolledUp.reduce((sum, { invocations }) => sum + invocations, 0)).toBe(stored);
    expect(stored).toBeGreaterThan(0);
    const days = rolledUp.filter(({ trigger }) => trigger === "rpc");
    expect(days.length).toBeGreaterThan(0);
    for (const { minute } of days) expect(minute).toContain("T00:00:00");
  });
});

/** CPU time that the executors' threads have used, in milliseconds. */
const threadsMs = (): number =>
  ([1, 2] as const)
    .map((number) => pidOf(platform, `executor-${number}`))
    .map((pid) => Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, "utf8").split(" ")[0]))
    .reduce((sum, ns) => sum + ns / 1e6, 0);

/** The database that usage is kept in, of a platform that does not run. */
function fileOfUsage(): string {
  const files = readdirSync(dataDir, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".sqlite"))
    .map((name) => join(dataDir, name));
  const found = files.find((file) => {
    const db = new DatabaseSync(file, { readOnly: true });
    const has = db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'usage'").get();
    db.close();
    return has !== undefined;
  });
  if (!found) throw new Error(`No usage in ${files.join(", ")}`);
  return found;
}
