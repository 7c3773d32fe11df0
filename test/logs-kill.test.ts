import { globSync, statSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Client } from "./harness/client.ts";
import { callWorker } from "./harness/call-worker.ts";
import { logsWhen, readAllLogs, readLogs } from "./harness/logs.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { isAlive, pidOf, until } from "./harness/processes.ts";
import { upload } from "./harness/upload.ts";

const MiB = 1024 * 1024;
const DAY_MS = 24 * 60 * 60_000;
// An executor tells state what it has at least this often, and isolates tell it sooner.
const REPORTED_WITHIN_MS = 1_500;

const CODE = `export default { fetch(request) {
  const { searchParams } = new URL(request.url);
  const size = Number(searchParams.get("size") ?? 0);
  console.log("number", Number(searchParams.get("n")), "x".repeat(size));
  console.log(JSON.stringify({ n: Number(searchParams.get("n")) }));
  return new Response("done");
} };`;

let platform: Platform;

beforeAll(async () => {
  platform = await startPlatform({ env: { MAYFLY_EXECUTORS: "2", MAYFLY_LOG_MB: "2" } });
  for (const [name, isolation] of [
    ["shared", "shared"],
    ["request", "request"],
    ["full", "shared"],
    ["old", "shared"],
  ] as const) {
    const metadata = { observability: { enabled: true } };
    await upload(platform, { name, code: CODE, isolation, metadata });
  }
});

afterAll(() => platform.stop());

/** Calls the worker from several connections until it is told to stop; gives when each number was answered. */
function callOnAndOn(name: string): { stop: () => Promise<Map<number, number>> } {
  const answered = new Map<number, number>();
  let next = 0;
  const done = new AbortController();
  const clients = Array.from({ length: 4 }, async () => {
    const client = new Client(platform.port, `${name}.dev.localhost`, false);
    while (!done.signal.aborted) {
      const n = next++;
      const { status, endedAt } = await client.call({ path: `/?n=${n}` });
      if (status === 200) answered.set(n, endedAt);
      await sleep(5);
    }
    client.close();
  });
  const stop = async (): Promise<Map<number, number>> => {
    done.abort();
    await Promise.all(clients);
    return answered;
  };
  return { stop };
}

/** Kills the process and waits until another one has taken its place. */
async function kill(name: Parameters<typeof pidOf>[1]): Promise<number> {
  const pid = pidOf(platform, name);
  const killedAt = Date.now();
  process.kill(pid, "SIGKILL");
  await until(() => pidOf(platform, name) !== pid && isAlive(pidOf(platform, name)), 20_000);
  return killedAt;
}

/** How often each number has been logged; fails if an invocation has not both of its lines. */
async function countNumbers(name: string): Promise<Map<number, number>> {
  const counts = new Map<number, number>();
  for (const { id, logs } of await readAllLogs(platform, name)) {
    expect(
      logs.map(({ message }) => message.length),
      id,
    ).toEqual([3, 1]);
    const n = logs[1]?.fields?.["n"] as number;
    counts.set(n, (counts.get(n) ?? 0) + 1);
  }
  return counts;
}

describe.each([
  ["shared", 2],
  ["request", 1],
])("Logs of a worker in %s mode", (name, times) => {
  it("lose nothing when state is killed, and have nothing twice", async () => {
    const load = callOnAndOn(name);
    for (let killed = 0; killed < times; killed++) {
      await sleep(700);
      await kill("state");
    }
    await sleep(700);
    const answered = await load.stop();
    expect(answered.size).toBeGreaterThan(50);
    let counts = new Map<number, number>();
    await until(async () => {
      counts = await countNumbers(name).catch(() => counts);
      return counts.size >= answered.size;
    }, 20_000);
    counts = await countNumbers(name);
    expect([...answered.keys()].filter((n) => counts.get(n) !== 1)).toEqual([]);
    expect([...counts.values()].filter((count) => count !== 1)).toEqual([]);
  });
});

it("nothing is lost by mayfly reload", async () => {
  const metadata = { observability: { enabled: true } };
  await upload(platform, { name: "reloaded", code: CODE, isolation: "shared", metadata });
  const load = callOnAndOn("reloaded");
  await sleep(500);
  expect(await platform.mayfly(["reload"])).toMatchObject({ code: 0 });
  const answered = await load.stop();
  expect(answered.size).toBeGreaterThan(50);
  await until(async () => {
    const counts = await countNumbers("reloaded").catch(() => new Map<number, number>());
    return [...answered.keys()].every((n) => counts.get(n) === 1);
  }, 20_000);
});

it("what an executor had reported is kept when it is killed, once", async () => {
  await upload(platform, {
    name: "killed",
    code: CODE,
    isolation: "shared",
    metadata: { observability: { enabled: true } },
  });
  const load = callOnAndOn("killed");
  await sleep(REPORTED_WITHIN_MS + 500);
  const killedAt = await kill("executor-1");
  await sleep(1_000);
  const answered = await load.stop();
  const lastAt = Math.max(...answered.values());
  const early = (n: number): boolean => (answered.get(n) ?? 0) < killedAt - REPORTED_WITHIN_MS;
  const late = (n: number): boolean => (answered.get(n) ?? 0) > lastAt - 300;
  let counts = new Map<number, number>();
  await until(async () => {
    counts = new Map();
    for (const { logs } of await readAllLogs(platform, "killed")) {
      const n = logs.at(-1)?.fields?.["n"] as number | undefined;
      // Of the last ones before the kill some may have lost their lines.
      if (n !== undefined) counts.set(n, (counts.get(n) ?? 0) + 1);
    }
    return [...answered.keys()].filter((n) => late(n)).every((n) => counts.has(n));
  }, 20_000);
  expect([...answered.keys()].filter((n) => early(n)).length).toBeGreaterThan(50);
  expect([...answered.keys()].filter((n) => early(n) && counts.get(n) !== 1)).toEqual([]);
  expect([...counts.values()].filter((count) => count !== 1)).toEqual([]);
});

/** The files of all scripts' logs. */
const files = (): string[] =>
  globSync(join(platform.dataDir, "state/do/*LogsObject*/*.sqlite")).filter(
    (file) => !file.endsWith("metadata.sqlite"),
  );

describe("Retention", () => {
  it("keeps the newest of a script within MAYFLY_LOG_MB, on the disk as well", async () => {
    const SIZE = 20_000;
    const COUNT = 400;
    const others = new Set(files());
    for (let n = 0; n < COUNT; n += 20) {
      await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          callWorker(platform, "full", `/?n=${n + index}&size=${SIZE}`),
        ),
      );
    }
    await logsWhen(platform, "full", { field: `n=${COUNT - 1}` }, (found) => {
      return found[0]?.logs.length === 2 && found[0].outcome === "ok";
    });
    // Lines of others at the same time may come after the last one's.
    let kept: Awaited<ReturnType<typeof readAllLogs>> = [];
    await until(async () => {
      kept = await readAllLogs(platform, "full");
      return kept.every(({ logs, outcome }) => logs.length === 2 && outcome === "ok");
    }, 20_000);
    const bytes = kept.reduce((sum, { logs }) => sum + JSON.stringify(logs).length, 0);
    expect(bytes).toBeLessThan(2 * MiB);
    expect(bytes).toBeGreaterThan(1.5 * MiB);
    // None of the oldest is left, and none but the oldest is missing.
    const numbers = kept.map(({ logs }) => logs.at(-1)?.fields?.["n"] as number);
    expect(Math.min(...numbers)).toBeGreaterThan(COUNT - 2 * kept.length);
    const [file] = files().filter((name) => !others.has(name));
    // A report is in before the oldest go.
    expect(statSync(file as string).size).toBeLessThan(5 * MiB);
  });

  it("deletes what is older than MAYFLY_LOG_DAYS", async () => {
    const others = new Set(files());
    for (let n = 0; n < 3; n++) await callWorker(platform, "old", `/?n=${n}`);
    await logsWhen(platform, "old", {}, ({ length }) => length === 3);
    const [file] = files().filter((name) => !others.has(name));
    const { dataDir } = platform;
    await platform.kill();
    // As if seven days had passed since the first two, and the alarm had been set then.
    const database = new DatabaseSync(file as string);
    database.exec(
      `UPDATE invocations SET started_at = started_at - ${7 * DAY_MS}
      WHERE started_at < (SELECT max(started_at) FROM invocations)`,
    );
    database.close();
    platform = await startPlatform({ dataDir, env: { MAYFLY_LOG_MB: "2" } });
    expect(await readLogs(platform, "old")).toHaveLength(3);
    await callWorker(platform, "old", "/?n=3");
    const left = await logsWhen(platform, "old", { field: "n=3" }, ({ length }) => length === 1);
    expect(left).toHaveLength(1);
    const numbers = (await readLogs(platform, "old")).map(({ logs }) => logs[1]?.fields?.["n"]);
    expect(numbers).toEqual([3, 2]);
  });
});
