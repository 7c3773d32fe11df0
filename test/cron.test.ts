import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callApi, type Answer } from "./harness/api.ts";
import {
  beginRun,
  createNamespace,
  cronRuns,
  deployCronWorker,
  endedRun,
  keysOf,
  type CronRun,
} from "./harness/cron.ts";
import { wranglerWith } from "./harness/deploy.ts";
import { fails, succeeds } from "./harness/expect-command.ts";
import { sendForm } from "./harness/form.ts";
import {
  startPlatform,
  type ApiAccess,
  type CommandResult,
  type Platform,
} from "./harness/platform.ts";
import { until } from "./harness/processes.ts";
import { startWranglerDev, type WranglerDev } from "./harness/wrangler-dev.ts";

// Notes what it was given, under a key of its own for every run.
const NOTING = `export default {
  async scheduled({ cron, scheduledTime, type }, env) {
    await env.KV.put([type, cron, scheduledTime, crypto.randomUUID()].join("|"), "");
  },
};`;
const NEVER = "0 0 29 2 *";

let platform: Platform;
let dev: WranglerDev;
let kv: string;
let devKv: string;
let folder: string;
let main: string;
let removedAt: number;

// The slots that the last tests wait for pass while the others run.
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "mayfly-cron-"));
  main = join(folder, "index.js");
  writeFileSync(main, NOTING);
  [platform, dev] = await Promise.all([startPlatform(), startWranglerDev()]);
  [kv, devKv] = await Promise.all([
    createNamespace(platform, "cron"),
    createNamespace(dev, "cron"),
  ]);
  const minutes = { name: "minutes", code: NOTING, crons: ["* * * * *", "*/1 * * * *"] };
  await deployCronWorker(platform, { ...minutes, kv });
  await deployCronWorker(dev, { ...minutes, kv: devKv });
  await splitTraffic(platform, "minutes");
  await deployCronWorker(platform, { name: "removed", code: NOTING, crons: ["* * * * *"] });
  await setCrons("removed", [NEVER]);
  removedAt = Date.now();
});
afterAll(async () => {
  await Promise.all([platform?.stop(), dev?.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

/** Deploys a second version of the script beside the first. */
async function splitTraffic(access: ApiAccess, name: string): Promise<void> {
  const path = `/accounts/${access.accountId}/workers/scripts/${name}`;
  const bindings = [{ type: "kv_namespace", name: "KV", namespace_id: kv }];
  await sendForm(access, "POST", `${path}/versions`, { bindings }, { "index.js": NOTING });
  const { result } = await callApi(access, "GET", `${path}/versions`);
  const versions = (result.items as { id: string }[]).map(({ id }) => ({
    version_id: id,
    percentage: 50,
  }));
  const body = { strategy: "percentage", versions };
  expect(versions).toHaveLength(2);
  expect((await callApi(access, "POST", `${path}/deployments`, body)).status).toBe(200);
}

const script = (name: string, path = ""): string =>
  `/accounts/${platform.accountId}/workers/scripts/${name}${path}`;

async function cronsOf(name: string): Promise<string[]> {
  const { result } = await callApi(platform, "GET", script(name, "/schedules"));
  return (result.schedules as { cron: string }[]).map(({ cron }) => cron);
}

const setCrons = (name: string, crons: string[]): Promise<Answer> =>
  callApi(
    platform,
    "PUT",
    script(name, "/schedules"),
    crons.map((cron) => ({ cron })),
  );

const run = (
  name: string,
  crons: string[] | undefined,
  ...args: string[]
): Promise<CommandResult> =>
  wranglerWith(platform, { name, main, ...(crons && { triggers: { crons } }) }, args);

/** Asks for a run. */
const post = (body: object): Promise<Answer> =>
  callApi(platform, "POST", `/accounts/${platform.accountId}/mayfly/cron-runs`, body);

describe("wrangler", () => {
  it("deploy sets the crons, keeps those that stay, and drops the others", async () => {
    const stdout = await succeeds(run("set", ["0 3 * * *", "0 0 L * *"], "deploy"));
    expect(stdout).toContain("schedule: 0 3 * * *");
    const before = (await callApi(platform, "GET", script("set", "/schedules"))).result.schedules;
    const iso = /^\d{4}-\d\d-\d\dT/;
    expect(before).toEqual([
      {
        cron: "0 3 * * *",
        created_on: expect.stringMatching(iso),
        modified_on: expect.stringMatching(iso),
      },
      expect.objectContaining({ cron: "0 0 L * *" }),
    ]);
    await succeeds(run("set", ["0 0 L * *", "30 6 * * MON-FRI"], "deploy"));
    const after = (await callApi(platform, "GET", script("set", "/schedules"))).result.schedules;
    expect(after).toEqual([before[1], expect.objectContaining({ cron: "30 6 * * MON-FRI" })]);
  });

  it("deploy without crons leaves them, and an empty list clears them", async () => {
    await deployCronWorker(platform, { name: "cleared", code: NOTING, crons: [NEVER], kv });
    await succeeds(run("cleared", undefined, "deploy"));
    expect(await cronsOf("cleared")).toEqual([NEVER]);
    await succeeds(run("cleared", [], "deploy"));
    expect(await cronsOf("cleared")).toEqual([]);
  });

  it("triggers deploy sets the crons of what is deployed", async () => {
    await deployCronWorker(platform, { name: "triggered", code: NOTING, crons: [], kv });
    await succeeds(run("triggered", ["5 4 * * 1"], "triggers", "deploy"));
    expect(await cronsOf("triggered")).toEqual(["5 4 * * 1"]);
  });

  it("deploy says what is wrong with a cron", async () => {
    const output = await fails(run("wrong", ["0 0 * * 0"], "deploy"));
    expect(output).toContain('day of week: got "0", must be 1-7 (1 is Sunday)');
    expect(output).toContain("10100");
  });

  it("delete ends the crons and forgets their runs", async () => {
    await deployCronWorker(platform, { name: "deleted", code: NOTING, crons: [NEVER], kv });
    await beginRun(platform, "deleted", NEVER);
    await endedRun(platform, "deleted");
    await succeeds(run("deleted", undefined, "delete", "--force"));
    const { result } = await callApi(
      platform,
      "GET",
      `/accounts/${platform.accountId}/mayfly/cron-runs?limit=1000`,
    );
    const names = (result as CronRun[]).map(({ script_name }) => script_name);
    expect(names).not.toContain("deleted");
    expect(await cronRunsAnswer("deleted")).toMatchObject({ status: 404, code: 10007 });
  });
});

const cronRunsAnswer = (name: string): Promise<Answer> =>
  callApi(platform, "GET", `/accounts/${platform.accountId}/mayfly/cron-runs?script=${name}`);

describe("the schedules of a script", () => {
  beforeAll(() => deployCronWorker(platform, { name: "many", code: NOTING, crons: [], kv }));

  it("refuse a cron that cannot be understood, and change nothing", async () => {
    await setCrons("many", [NEVER]);
    const { status, code, message } = await setCrons("many", ["0 3 * * *", "* * * * * *"]);
    expect([status, code]).toEqual([400, 10100]);
    expect(message).toContain('invalid cron string "* * * * * *": fields: got');
    expect(await cronsOf("many")).toEqual([NEVER]);
  });

  it("name a cron once", async () => {
    await setCrons("many", [NEVER, NEVER]);
    expect(await cronsOf("many")).toEqual([NEVER]);
  });

  it("are 250 per account at most, and can always become fewer", async () => {
    const crons = Array.from({ length: 250 }, (_, i) => `${i % 60} ${Math.floor(i / 60)} 29 2 *`);
    const { status, code, message } = await setCrons("many", crons);
    expect([status, code]).toEqual([400, 10072]);
    expect(message).toContain("must be at most 250 per account");
    expect((await setCrons("many", crons.slice(0, 200))).status).toBe(200);
    expect((await setCrons("many", [])).status).toBe(200);
  });

  it("are those of a script that exists", async () => {
    expect(await setCrons("nobody", [NEVER])).toMatchObject({ status: 404, code: 10007 });
  });

  it("must be a list of crons", async () => {
    const answer = await callApi(platform, "PUT", script("many", "/schedules"), [{ corn: NEVER }]);
    expect(answer).toMatchObject({ status: 400, code: 10001 });
  });
});

describe("a run that is asked for", () => {
  it("gives the handler its cron and time", async () => {
    await deployCronWorker(platform, { name: "asked", code: NOTING, crons: [NEVER], kv });
    const scheduled_time = Date.UTC(2024, 1, 29);
    const { result } = await post({ script_name: "asked", cron: NEVER, scheduled_time });
    expect(result).toMatchObject({ script_name: "asked", cron: NEVER, scheduled_time });
    expect(await endedRun(platform, "asked")).toMatchObject({
      scheduled_time,
      outcome: "ok",
      error: null,
      tries: 1,
      no_retry: false,
      caught_up: false,
    });
    const noted = (): Promise<string[]> =>
      keysOf(platform, kv).then((keys) =>
        keys.filter((key) => key.startsWith(`scheduled|${NEVER}|${scheduled_time}|`)),
      );
    expect(await noted()).toHaveLength(1);

    // The slot is over, so it can be run again.
    expect((await post({ script_name: "asked", cron: NEVER, scheduled_time })).status).toBe(200);
    await endedRun(platform, "asked");
    expect(await noted()).toHaveLength(2);
    expect(await cronRuns(platform, "asked")).toHaveLength(1);
  });

  it("must be of a cron that the script has and a time that has passed", async () => {
    const known = { script_name: "asked", cron: NEVER };
    expect(await post({ ...known, cron: "0 0 * * *" })).toMatchObject({
      status: 400,
      message: `cron: got "0 0 * * *", must be one of the script's: ["${NEVER}"]`,
    });
    const later = await post({ ...known, scheduled_time: Date.now() + 60_000 });
    expect(later.message).toContain("must be a time that has passed");
    expect(await post({ ...known, script_name: "nobody" })).toMatchObject({ code: 10007 });
  });

  it.each([
    ["throws", "throw new TypeError('no orders')", "TypeError: no orders"],
    ["rejects", "return Promise.reject(new Error('later'))", "Error: later"],
    [
      "gives failing work to waitUntil",
      "ctx.waitUntil(scheduler.wait(10).then(() => { throw new Error('after') }))",
      "Error: after",
    ],
  ])("of a handler that %s is told, and not run again", async (how, body, error) => {
    const name = how.split(" ")[0] ?? how;
    const code = `export default { scheduled(controller, env, ctx) { ${body} } };`;
    await deployCronWorker(platform, { name, code, crons: [NEVER] });
    await beginRun(platform, name, NEVER);
    expect(await endedRun(platform, name)).toMatchObject({ outcome: "exception", error, tries: 1 });
  });

  it("of a worker without the handler says so", async () => {
    const code = "export default { fetch: () => new Response() };";
    await deployCronWorker(platform, { name: "handlerless", code, crons: [NEVER] });
    await beginRun(platform, "handlerless", NEVER);
    expect(await endedRun(platform, "handlerless")).toMatchObject({
      outcome: "exception",
      error: "Error: Handler does not export a scheduled() function.",
    });
  });

  it("of a class calls its method", async () => {
    const code = `import { WorkerEntrypoint } from "cloudflare:workers";
      export default class extends WorkerEntrypoint {
        async scheduled({ cron }) { await this.env.KV.put("class|" + cron, ""); }
      }`;
    await deployCronWorker(platform, { name: "class", code, crons: [NEVER], kv });
    await beginRun(platform, "class", NEVER);
    expect((await endedRun(platform, "class")).outcome).toBe("ok");
    expect(await keysOf(platform, kv)).toContain(`class|${NEVER}`);
  });

  it("runs beside others, at most 20 of one script at once", async () => {
    const code = `export default { async scheduled() { await scheduler.wait(400); } };`;
    await deployCronWorker(platform, { name: "beside", code, crons: [NEVER] });
    const times = Array.from({ length: 30 }, (_, i) => 1_000 + i);
    const known = { script_name: "beside", cron: NEVER };
    await Promise.all(times.map((scheduled_time) => post({ ...known, scheduled_time })));
    await until(async () => {
      const runs = await cronRuns(platform, "beside");
      return runs.filter(({ outcome }) => outcome === "ok").length === 30;
    }, 10_000);
    const runs = await cronRuns(platform, "beside");
    const atOnce = runs.map(
      ({ started_at: start }) =>
        runs.filter(
          (run) => Number(run.started_at) <= Number(start) && Number(run.ended_at) > Number(start),
        ).length,
    );
    expect(Math.max(...atOnce)).toBe(20);
  });

  it("is kept until a hundred newer ones of its cron are over", async () => {
    await deployCronWorker(platform, {
      name: "kept",
      code: NOTING,
      crons: [NEVER, "0 3 * * *"],
      kv,
    });
    await beginRun(platform, "kept", "0 3 * * *");
    const known = { script_name: "kept", cron: NEVER };
    const times = Array.from({ length: 105 }, (_, i) => i);
    await Promise.all(times.map((scheduled_time) => post({ ...known, scheduled_time })));
    await until(
      async () => (await cronRuns(platform, "kept")).every(({ outcome }) => outcome === "ok"),
      20_000,
    );
    const path = `/accounts/${platform.accountId}/mayfly/cron-runs?script=kept&limit=1000`;
    const runs = (await callApi(platform, "GET", path)).result as CronRun[];
    expect(runs).toHaveLength(101);
    const slots = runs.filter(({ cron }) => cron === NEVER).map((run) => run.scheduled_time);
    expect(Math.min(...slots)).toBe(5);
  });
});

describe("when its slot comes", () => {
  // Enough for a machine that is busy with other tests.
  const MAX_LATENESS_MS = 5_000;

  async function check(access: ApiAccess, namespace: string, how: string): Promise<void> {
    await until(async () => {
      const runs = await cronRuns(access, "minutes");
      return runs.length >= 2 && runs.every(({ outcome }) => outcome !== null);
    }, 70_000);
    const runs = await cronRuns(access, "minutes");
    const lateness = runs.map(
      ({ started_at, scheduled_time }) => Number(started_at) - scheduled_time,
    );
    console.log(`${how}: begun ${lateness.join(", ")} ms after the slot`);
    for (const late of lateness) expect(late).toBeGreaterThanOrEqual(0);
    expect(Math.max(...lateness)).toBeLessThan(MAX_LATENESS_MS);
    for (const run of runs) {
      expect(run).toMatchObject({ outcome: "ok", tries: 1, caught_up: false });
      expect(run.scheduled_time % 60_000).toBe(0);
    }
    const noted = (await keysOf(access, namespace)).map((key) => key.split("|").slice(0, 3));
    const newest = Math.max(...runs.map(({ scheduled_time }) => scheduled_time));
    const ofMinutes = noted.filter(
      ([, cron, slot]) => cron?.endsWith(" * * * *") && Number(slot) <= newest,
    );
    const expected = runs.map((run) => ["scheduled", run.cron, `${run.scheduled_time}`]);
    expect(ofMinutes.sort()).toEqual(expected.sort());
    expect(new Set(runs.map(({ cron }) => cron))).toEqual(new Set(["* * * * *", "*/1 * * * *"]));
  }

  it(
    "a cron is run once, by one of the deployed versions",
    () => check(platform, kv, "npm start"),
    80_000,
  );

  it("a cron is run once under wrangler dev", () => check(dev, devKv, "wrangler dev"), 80_000);

  it("a cron that was removed is not run", async () => {
    const runs = await cronRuns(platform, "removed");
    expect(runs.filter((run) => run.scheduled_time > removedAt)).toEqual([]);
  });
});
