import { mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { callApi } from "./harness/api.ts";
import { meanwhile } from "./harness/meanwhile.ts";
import { metric } from "./harness/metrics.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { isAlive, pidOf, until } from "./harness/processes.ts";
import { account, createDatabase, deployQueueWorker, query } from "./harness/queue.ts";
import { upload } from "./harness/upload.ts";

const QUERY_MS = 4_000;
/** What others may take beside a query that never ends; it keeps one of perhaps two cores busy. */
const NORMAL_MS = 1_500;
const BACK_WITHIN_MS = 5_000;

const ENDLESS =
  "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers) SELECT count(*) FROM numbers";
/** Some work, in a step that cannot be interrupted. */
const LONG =
  "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT 300000) SELECT count(*) FROM numbers";

const WORKER = `
  export default {
    async fetch(request, env) {
      const { binding, batch } = await request.json();
      try {
        if (binding === "KV") {
          await env.KV.put("key", "value");
          return Response.json({ value: await env.KV.get("key") });
        }
        const statements = batch.map((sql) => env[binding].prepare(sql));
        const results = await env[binding].batch(statements);
        return Response.json({ rows: results.at(-1).results });
      } catch (error) {
        return Response.json({ error: error.message });
      }
    },
  };`;

const OTHER = {
  name: "other",
  code: "export default { fetch: () => new Response('other') };",
  isolation: "shared",
} as const;

interface Answer {
  rows?: Record<string, unknown>[];
  value?: string;
  error?: string;
}

const folder = mkdtempSync(join(tmpdir(), "mayfly-shards-"));
const dataDir = join(folder, "data");
let platform: Platform;
let first: string;
let second: string;
const start = (shards: number): Promise<Platform> =>
  startPlatform({
    dataDir,
    env: { MAYFLY_SHARDS: String(shards), MAYFLY_QUERY_MS: String(QUERY_MS) },
  });

beforeAll(async () => {
  platform = await start(2);
  // Each new one goes to the shard that has the fewest.
  first = await createDatabase(platform, "first");
  second = await createDatabase(platform, "second");
  const namespace = await account<{ id: string }>(platform, "POST", "/storage/kv/namespaces", {
    title: "kv",
  });
  await deployQueueWorker(platform, {
    name: "app",
    code: WORKER,
    isolation: "shared",
    bindings: [
      { type: "d1", name: "FIRST", id: first },
      { type: "d1", name: "SECOND", id: second },
      { type: "kv_namespace", name: "KV", namespace_id: namespace.id },
    ],
  });
  await upload(platform, OTHER);
  for (const id of [first, second]) {
    await query(platform, id, "CREATE TABLE kept (number INTEGER PRIMARY KEY)");
    await query(platform, id, "INSERT INTO kept VALUES (1), (2), (3)");
  }
});
afterAll(async () => {
  await platform.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function app(binding: "FIRST" | "SECOND" | "KV", ...batch: string[]): Promise<Answer> {
  const body = JSON.stringify({ binding, batch });
  const response = await platform.fetchHost("app.dev.localhost", "/", { method: "POST", body });
  return (await response.json()) as Answer;
}

const countKept = async (binding: "FIRST" | "SECOND"): Promise<unknown> =>
  (await app(binding, "SELECT count(*) AS count FROM kept")).rows?.[0]?.["count"];

const callOther = async (): Promise<string> =>
  (await platform.fetchHost("other.dev.localhost")).text();

const readiness = async (): Promise<number> =>
  (await fetch(`${platform.url}/_mayfly/ready`)).status;

test("a query that never ends keeps nobody else waiting, and its shard is back soon after its end", async () => {
  const others = (["state", "quarantine", "shard-2"] as const).map((name) => pidOf(platform, name));
  const shard = pidOf(platform, "shard-1");
  let isOver = false;
  const endless = meanwhile(app("FIRST", ENDLESS).finally(() => (isOver = true)));
  const path = `/accounts/${platform.accountId}/d1/database/${first}/query`;
  const another = meanwhile(callApi(platform, "POST", path, { sql: ENDLESS }));

  const work: [name: string, run: () => Promise<unknown>, answer: unknown][] = [
    ["a database of another shard", () => countKept("SECOND"), 3],
    ["KV", async () => (await app("KV")).value, "value"],
    ["another worker", callOther, "other"],
    ["the API", async () => (await platform.fetchApi("/user")).status, 200],
    ["deployments", () => upload(platform, OTHER), undefined],
  ];
  const slowest = new Map<string, number>();
  for (const begun = Date.now(); Date.now() - begun < QUERY_MS - 1_500;) {
    for (const [name, run, answer] of work) {
      const startedAt = Date.now();
      expect(await run(), name).toBe(answer);
      slowest.set(name, Math.max(slowest.get(name) ?? 0, Date.now() - startedAt));
    }
  }
  expect(await readiness()).toBe(503);
  expect(await metric(platform, "mayfly_shards")).toBe(1);
  expect(isOver).toBe(false);
  for (const [name, ms] of slowest) expect(ms, name).toBeLessThan(NORMAL_MS);

  expect(await endless).toEqual({ error: "D1_ERROR: Network connection lost." });
  const { status, code, message } = await another;
  expect({ status, code }).toEqual({ status: 503, code: 7500 });
  expect(message).toContain("Network connection lost.");
  await until(async () => (await countKept("FIRST")) === 3, BACK_WITHIN_MS);
  expect(await readiness()).toBe(200);
  expect(await metric(platform, "mayfly_shards")).toBe(2);
  const stalled = { process: "shard-1", reason: "stalled" };
  await until(
    async () => (await metric(platform, "mayfly_process_restarts_total", stalled)) === 1,
    2 * BACK_WITHIN_MS,
  );
  expect(isAlive(shard)).toBe(false);
  expect(others.every(isAlive)).toBe(true);
});

test("a batch that takes too long is undone, and hurts nobody else", async () => {
  const shard = pidOf(platform, "shard-1");
  const long = Array.from({ length: 1_000 }, () => LONG);
  const { error } = await app("FIRST", "INSERT INTO kept VALUES (4)", ...long);
  expect(error).toBe(
    "D1_ERROR: The query took longer than 4 seconds and was undone; do less in one call.",
  );
  expect(await countKept("FIRST")).toBe(3);
  expect(isAlive(shard)).toBe(true);
});

test("what was written before SIGKILL of the shard is there", async () => {
  await query(platform, first, "CREATE TABLE written (number INTEGER PRIMARY KEY)");
  const written: number[] = [];
  const errors = new Set<string | undefined>();
  const load = { goesOn: true, next: 0 };
  const moreAreWritten = (): Promise<void> => {
    const enough = written.length + 20;
    return until(() => written.length >= enough, BACK_WITHIN_MS);
  };
  const write = async (): Promise<void> => {
    while (load.goesOn) {
      const number = load.next++;
      const { error } = await app("FIRST", `INSERT INTO written VALUES (${number})`);
      if (error === undefined) written.push(number);
      else errors.add(error);
    }
  };
  const writers = meanwhile(Promise.all([write(), write(), write(), write()]));
  for (let kill = 0; kill < 4; kill++) {
    await moreAreWritten();
    process.kill(pidOf(platform, "shard-1"), "SIGKILL");
  }
  await moreAreWritten();
  load.goesOn = false;
  await writers;

  const rows = await query<{ number: number }>(platform, first, "SELECT number FROM written");
  expect(rows.map(({ number }) => number)).toEqual(expect.arrayContaining(written));
  expect([...errors]).toEqual(["D1_ERROR: Network connection lost."]);
});

test("a deleted database is gone for a worker that still has it bound", async () => {
  const id = await createDatabase(platform, "short-lived");
  const bindings = [{ type: "d1", name: "FIRST", id }];
  await deployQueueWorker(platform, { name: "late", code: WORKER, isolation: "request", bindings });
  await account(platform, "DELETE", `/d1/database/${id}`);
  const body = JSON.stringify({ binding: "FIRST", batch: ["SELECT 1"] });
  const response = await platform.fetchHost("late.dev.localhost", "/", { method: "POST", body });
  expect(await response.json()).toEqual({ error: "D1_ERROR: The database was deleted." });
});

test("a database whose queries never end again and again is left out, and no other", async () => {
  const third = await createDatabase(platform, "third");
  await query(platform, third, "CREATE TABLE kept AS SELECT 3 AS number");
  const shard = pidOf(platform, "shard-1");
  expect(await app("FIRST", ENDLESS)).toEqual({ error: "D1_ERROR: Network connection lost." });
  await until(() => pidOf(platform, "shard-1") !== shard, BACK_WITHIN_MS);
  const refused = async (): Promise<boolean> =>
    (await app("FIRST", "SELECT 1")).error?.startsWith(
      "D1_ERROR: Queries of this database took longer than 4 seconds again and again; it takes no more until 20",
    ) ?? false;
  await until(refused, BACK_WITHIN_MS);
  expect(await query(platform, third, "SELECT number FROM kept")).toEqual([{ number: 3 }]);
  expect(await countKept("SECOND")).toBe(3);
  expect(platform.output()).toContain(
    `"event":"query_stalled","process":"shard-1","database":"${first}"`,
  );
});

describe("with another number of shards", () => {
  test("databases stay where they are", async () => {
    await platform.stop();
    platform = await start(1);
    expect(await countKept("FIRST")).toBe(3);
    expect(await countKept("SECOND")).toBe(3);
    await platform.stop();
    platform = await start(3);
    expect(await countKept("FIRST")).toBe(3);
    expect(await countKept("SECOND")).toBe(3);
  });

  test("a number that is not allowed is refused", async () => {
    const { code, stderr } = await platform.mayfly(["env"], { env: { MAYFLY_SHARDS: "17" } });
    expect(stderr).toContain('MAYFLY_SHARDS: got "17", must be a whole number from 1 to 16');
    expect(code).toBe(1);
  });
});

describe("databases of a platform from before there were shards", () => {
  const old = join(folder, "old");
  const [before, now] = ["state/do", "shards/1"].map((path) =>
    join(old, path, "mayfly-DatabaseObject"),
  ) as [string, string];

  test("are found", async () => {
    const older = await startPlatform({ dataDir: old });
    const id = await createDatabase(older, "kept");
    await query(older, id, "CREATE TABLE kept AS SELECT 42 AS number");
    await older.kill();
    renameSync(now, before);
    rmSync(join(old, "shards"), { recursive: true });

    const newer = await startPlatform({ dataDir: old });
    expect(await query(newer, id, "SELECT number FROM kept")).toEqual([{ number: 42 }]);
    await newer.stop();
  });

  test("do not replace newer ones", async () => {
    mkdirSync(before);
    await expect(startPlatform({ dataDir: old })).rejects.toThrow(
      `MAYFLY_DATA: databases are in ${now} and`,
    );
  });
});
