import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callApi } from "./harness/api.ts";
import {
  beginRun,
  changeScheduler,
  createNamespace,
  cronRuns,
  deployCronWorker,
  endedRun,
  keysOf,
  type CronRun,
} from "./harness/cron.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { killExecutors, pidOf, until } from "./harness/processes.ts";

const MINUTE_MS = 60_000;
const NEVER = "0 0 29 2 *";
const RESTARTED_WITHIN_MS = 30_000;

// Notes each time it is begun. The first time it never ends by itself.
const STUCK_AT_FIRST = `export default {
  async scheduled(controller, env) {
    if (controller.cron.startsWith("1 ")) controller.noRetry();
    const { keys } = await env.KV.list({ prefix: controller.cron });
    await env.KV.put([controller.cron, controller.scheduledTime, crypto.randomUUID()].join("|"), "");
    if (keys.length === 0) await scheduler.wait(600_000);
  },
};`;
const RETRIED = "0 0 29 2 *";
const NOT_RETRIED = "1 0 29 2 *";

let folder: string;
let platform: Platform;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "mayfly-cron-"));
  platform = await startPlatform({ dataDir: join(folder, "data") });
});
afterAll(async () => {
  await platform?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function restart(change: () => void = () => {}): Promise<void> {
  await platform.kill();
  change();
  platform = await startPlatform({ dataDir: platform.dataDir });
}

/** Begins a run of each cron that is stuck; resolves when noRetry() has been kept, too. */
async function beginStuckRuns(name: string): Promise<string> {
  const kv = await createNamespace(platform, name);
  await deployCronWorker(platform, {
    name,
    code: STUCK_AT_FIRST,
    crons: [RETRIED, NOT_RETRIED],
    kv,
  });
  await beginRun(platform, name, RETRIED);
  await beginRun(platform, name, NOT_RETRIED);
  await until(async () => {
    const runs = await cronRuns(platform, name);
    return (await keysOf(platform, kv)).length === 2 && runs.some(({ no_retry }) => no_retry);
  }, 10_000);
  return kv;
}

async function checkStuckRuns(name: string, kv: string): Promise<void> {
  await until(async () => {
    // While a process is started again the API cannot be reached. The scheduler is not asked, since
    // that would wake it.
    const keys = await keysOf(platform, kv).catch(() => []);
    return keys.length > 2;
  }, RESTARTED_WITHIN_MS);
  await until(async () => {
    const runs = await cronRuns(platform, name);
    return runs.every(({ ended_at }) => ended_at !== null);
  }, 10_000);
  const runs = await cronRuns(platform, name);
  const find = (cron: string): CronRun | undefined => runs.find((run) => run.cron === cron);
  expect(find(RETRIED)).toMatchObject({ outcome: "ok", no_retry: false });
  expect(find(RETRIED)?.tries).toBeGreaterThan(1);
  expect(find(NOT_RETRIED)).toMatchObject({
    outcome: "internalError",
    error: "Cut short, and not to be run again: noRetry()",
    tries: 1,
    no_retry: true,
  });
  const begun = (await keysOf(platform, kv)).map((key) => key.split("|").slice(0, 2));
  const slot = (cron: string): string => `${find(cron)?.scheduled_time}`;
  expect(begun.sort()).toEqual([
    [RETRIED, slot(RETRIED)],
    [RETRIED, slot(RETRIED)],
    [NOT_RETRIED, slot(NOT_RETRIED)],
  ]);
}

describe("a run that is cut short by the end of", () => {
  it("its executor is run again, unless noRetry() was called", async () => {
    const kv = await beginStuckRuns("executor");
    killExecutors(platform);
    await checkStuckRuns("executor", kv);
  });

  it("the process that keeps the data is run again, unless noRetry() was called", async () => {
    const kv = await beginStuckRuns("state");
    process.kill(pidOf(platform, "state"), "SIGKILL");
    await checkStuckRuns("state", kv);
  });

  it("the whole platform is run again, unless noRetry() was called", async () => {
    const kv = await beginStuckRuns("platform");
    await restart();
    await checkStuckRuns("platform", kv);
  });

  it("its executor is given up after ten times", async () => {
    const code = `export default { async scheduled() { await scheduler.wait(600_000); } };`;
    await deployCronWorker(platform, { name: "unlucky", code, crons: [NEVER] });
    await beginRun(platform, "unlucky", NEVER);
    await until(async () => (await cronRuns(platform, "unlucky"))[0]?.tries === 1, 5_000);
    await restart(() =>
      changeScheduler(
        platform,
        "UPDATE runs SET tries = 10, due_at = NULL WHERE script_name = 'unlucky'",
      ),
    );
    expect(await endedRun(platform, "unlucky")).toMatchObject({
      outcome: "internalError",
      error: "Cut short 10 times",
      tries: 10,
    });
  });

  it("its executor is not run again when its cron was removed meanwhile", async () => {
    const code = `export default { async scheduled() { await scheduler.wait(600_000); } };`;
    await deployCronWorker(platform, { name: "gone", code, crons: [NEVER] });
    await beginRun(platform, "gone", NEVER);
    await callApi(
      platform,
      "PUT",
      `/accounts/${platform.accountId}/workers/scripts/gone/schedules`,
      [],
    );
    await restart();
    expect(await endedRun(platform, "gone")).toMatchObject({ outcome: "canceled", tries: 1 });
  });
});

describe("slots that were missed while the platform was down", () => {
  // Every ten minutes, the next in five, so that none comes while the test runs.
  const minute = (new Date().getMinutes() + 5) % 10;
  const cron = `${minute}-59/10 * * * *`;
  const code = `export default {
    async scheduled({ cron, scheduledTime }, env) {
      await env.KV.put(String(scheduledTime), String(Date.now()));
      await scheduler.wait(20);
    },
  };`;
  const newest = (): number => {
    const now = Math.floor(Date.now() / MINUTE_MS);
    return (now - ((((now - minute) % 10) + 10) % 10)) * MINUTE_MS;
  };
  let missedFrom: number;

  beforeAll(async () => {
    const kv = await createNamespace(platform, "missed");
    for (const catchUp of ["latest", "all", "none"] as const) {
      await deployCronWorker(platform, { name: catchUp, code, crons: [cron], catchUp, kv });
    }
    await deployCronWorker(platform, { name: "default", code, crons: [cron], kv });
    // The policy is the deployed version's: another deployment, another policy.
    await deployCronWorker(platform, { name: "changed", code, crons: [cron], catchUp: "none", kv });
    await deployCronWorker(platform, { name: "changed", code, crons: [cron], catchUp: "all", kv });
    await deployCronWorker(platform, {
      name: "minutely",
      code,
      crons: ["* * * * *"],
      catchUp: "none",
      kv,
    });
    missedFrom = newest() - 40 * MINUTE_MS;
    await restart(() => {
      const sql = "UPDATE crons SET next_at = ? WHERE cron = ?";
      expect(changeScheduler(platform, sql, missedFrom, cron)).toBe(5);
      expect(changeScheduler(platform, sql, missedFrom, "* * * * *")).toBe(1);
    });
  });

  const slotsOf = async (name: string, count: number): Promise<[number, boolean][]> => {
    const over = async (): Promise<CronRun[]> =>
      (await cronRuns(platform, name)).filter(({ outcome }) => outcome === "ok");
    await until(async () => (await over()).length >= count, 10_000);
    const runs = await cronRuns(platform, name);
    return runs.map((run) => [(run.scheduled_time - missedFrom) / MINUTE_MS, run.caught_up]);
  };

  it.each(["latest", "default"])("are caught up but for the newest: %s", async (name) => {
    expect(await slotsOf(name, 1)).toEqual([[40, true]]);
  });

  it.each(["all", "changed"])("are caught up all, one after the other: %s", async (name) => {
    expect((await slotsOf(name, 5)).toReversed()).toEqual([
      [0, true],
      [10, true],
      [20, true],
      [30, true],
      [40, true],
    ]);
    const runs = (await cronRuns(platform, name)).toReversed();
    for (const [i, { started_at }] of runs.slice(1).entries()) {
      expect(Number(started_at)).toBeGreaterThanOrEqual(Number(runs[i]?.ended_at));
    }
  });

  it("are not run at all: none", async () => {
    await slotsOf("all", 5);
    expect(await cronRuns(platform, "none")).toEqual([]);
  });

  it("do not keep a cron from the slot that has just come: none", async () => {
    await slotsOf("minutely", 1);
    for (const run of await cronRuns(platform, "minutely")) {
      expect(run.caught_up).toBe(false);
      expect(Number(run.started_at) - run.scheduled_time).toBeLessThanOrEqual(MINUTE_MS);
    }
  });
});

describe("a slot that finds no room until the next one comes", () => {
  it.each(["latest", "all"] as const)("is run only if all are to be: %s", async (catchUp) => {
    const name = `crowded-${catchUp}`;
    const code = "export default { scheduled() {} };";
    await deployCronWorker(platform, { name, code, crons: ["* * * * *"], catchUp });
    const slot = Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS;
    await restart(() => {
      const values = "script_id, cron, account_id, script_name, 0, ? AS slot, ? AS due";
      const sql = `INSERT INTO runs (script_id, cron, account_id, script_name, caught_up, scheduled_time, due_at)
        SELECT ${values} FROM crons WHERE script_name = ?`;
      expect(changeScheduler(platform, sql, slot - MINUTE_MS, Date.now() + 5_000, name)).toBe(1);
      changeScheduler(platform, "UPDATE crons SET next_at = ? WHERE script_name = ?", slot, name);
    });
    await until(async () => {
      const runs = await cronRuns(platform, name);
      return runs.length > 1 && runs.every(({ outcome }) => outcome !== null);
    }, 20_000);
    const first = (await cronRuns(platform, name)).at(-1);
    const passedOver = { outcome: "canceled", error: "Not begun before the next slot came" };
    expect(first).toMatchObject({
      scheduled_time: slot - MINUTE_MS,
      ...(catchUp === "latest" ? { ...passedOver, tries: 0 } : { outcome: "ok", tries: 1 }),
    });
  });
});

describe("a change that the scheduler was not told of", () => {
  it("is found out when the platform starts", async () => {
    const code = "export default { scheduled() {} };";
    await deployCronWorker(platform, { name: "untold", code, crons: [NEVER] });
    await restart(() => {
      expect(changeScheduler(platform, "DELETE FROM crons WHERE script_name = 'untold'")).toBe(1);
    });
    await until(
      () =>
        beginRun(platform, "untold", NEVER).then(
          () => true,
          () => false,
        ),
      10_000,
    );
    expect((await endedRun(platform, "untold")).outcome).toBe("ok");
  });
});
