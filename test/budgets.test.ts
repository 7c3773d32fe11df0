import { createHmac, randomUUID } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { endOf, startOf } from "../src/usage/budgets/period.ts";
import { callApi, type Answer } from "./harness/api.ts";
import { callWorker, retried, type WorkerAnswer } from "./harness/call-worker.ts";
import { beginRun, cronRuns, deployCronWorker, endedRun } from "./harness/cron.ts";
import { startPlatform, type ApiAccess, type Platform } from "./harness/platform.ts";
import { childrenOf, isAlive, pidOf, until } from "./harness/processes.ts";
import { createDatabase, createQueue, deployQueueWorker, query } from "./harness/queue.ts";
import { upload } from "./harness/upload.ts";

const CLIENTS = 64;
const DAY_MS = 24 * 60 * 60_000;
const OK = 'export default { fetch: () => new Response("ok") };';

let folder: string;
let platform: Platform;
let databaseId: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "mayfly-budgets-"));
  platform = await startPlatform({
    dataDir: join(folder, "data"),
    env: { MAYFLY_EXECUTORS: "2" },
  });
  databaseId = await createDatabase(platform, "notes");
  await query(platform, databaseId, "CREATE TABLE notes (of, note)");
});
afterAll(async () => {
  await platform?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A budget as the API shows it. */
interface Budget {
  state: string;
  used: number;
  period_end: string;
  webhook_secret?: string;
}

function budgets(method: string, name = "", body?: unknown, account: ApiAccess = platform) {
  const path = `/accounts/${account.accountId}/mayfly/budgets${name && `/${name}`}`;
  return callApi(account, method, path, body);
}

async function put(name: string, body: object, account?: ApiAccess): Promise<Budget> {
  const { code, message, result } = await budgets("PUT", name, body, account);
  if (code !== undefined) throw new Error(message);
  return result as Budget;
}

const get = async (name: string, account?: ApiAccess): Promise<Budget> =>
  (await budgets("GET", name, undefined, account)).result as Budget;

/** An account of its own, with its subdomain, that has these scripts. */
async function newAccount(name: string, scripts: string[]): Promise<[ApiAccess, string]> {
  const subdomain = `${name}-${randomUUID()}`;
  const { result } = await callApi(platform, "POST", "/accounts", { name, subdomain });
  const account = { ...platform, accountId: result.id as string };
  for (const script of scripts) {
    await upload(account, { name: script, code: OK, isolation: "shared" });
  }
  return [account, subdomain];
}

/** Kills state; gives what waits until it is back. */
function killState(): () => Promise<void> {
  const pid = pidOf(platform, "state");
  // Its runtime may answer for a moment longer.
  const processes = [pid, ...childrenOf(pid)];
  process.kill(pid, "SIGKILL");
  return () =>
    until(async () => {
      if (processes.some(isAlive)) return false;
      return (await retried(() => budgets("GET"))).status === 200;
    }, 20_000);
}

/** What has been written down of that name. */
const notesOf = async (name: string): Promise<string[]> => {
  const sql = `SELECT note FROM notes WHERE of = '${name}'`;
  const rows = await retried(() => query<{ note: string }>(platform, databaseId, sql));
  return rows.map(({ note }) => note);
};
const DB = (): object => ({ type: "d1", name: "DB", id: databaseId });
const NOTE = 'DB.prepare("INSERT INTO notes VALUES (?, ?)").bind';

const cap = (script: string | undefined, invocations: number): object => ({
  script,
  limit: { invocations },
  period: "day",
  action: "stop",
});

/** Many clients call until each has been refused; all that they were answered. */
async function callUntilRefused(name: string, subdomain?: string): Promise<WorkerAnswer[]> {
  const answers: WorkerAnswer[] = [];
  const client = async (): Promise<void> => {
    for (let status = 0; status !== 429;) {
      const answer = await callWorker(platform, name, "/", subdomain);
      answers.push(answer);
      ({ status } = answer);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return answers;
}

const count = (answers: WorkerAnswer[], status: number): number =>
  answers.filter((answer) => answer.status === status).length;

describe("a cap on invocations", () => {
  it("lets exactly so many through, of a script and of its account together", async () => {
    const [account, subdomain] = await newAccount("exact", ["capped", "free"]);
    await put("of-script", cap("capped", 1_000), account);
    await put("of-account", cap(undefined, 1_300), account);
    const capped = await callUntilRefused("capped", subdomain);
    expect(count(capped, 200)).toBe(1_000);
    expect(count(capped, 429)).toBe(capped.length - 1_000);
    expect(count(await callUntilRefused("free", subdomain), 200)).toBe(300);

    const refusal = capped.find(({ status }) => status === 429);
    expect(refusal).toMatchObject({ code: "budget_exhausted" });
    expect(refusal?.text).toContain("Error 1027");
    const { used, state, period_end } = await get("of-script", account);
    expect({ used, state }).toEqual({ used: 1_000, state: "stopped" });
    const secondsLeft = (Date.parse(period_end) - Date.now()) / 1000;
    expect(Math.abs(Number(refusal?.retryAfter) - secondsLeft)).toBeLessThan(60);
    expect(await get("of-account", account)).toMatchObject({ used: 1_300, state: "stopped" });
  });

  it("of an account lets one script have what was set aside for another", async () => {
    const [account, subdomain] = await newAccount("sharing", ["seldom", "often"]);
    await put("all", cap(undefined, 200), account);
    for (let i = 0; i < 4; i++) await callWorker(platform, "seldom", "/", subdomain);
    expect(count(await callUntilRefused("often", subdomain), 200)).toBe(196);
    expect(count(await callUntilRefused("seldom", subdomain), 200)).toBe(0);
  });

  it("holds where a script runs apart from the others", async () => {
    const limits = { cpu_ms: 10_000 };
    await upload(platform, { name: "long", code: OK, isolation: "shared", metadata: { limits } });
    await put("long", cap("long", 60));
    expect(count(await callUntilRefused("long"), 200)).toBe(60);
    expect(() => pidOf(platform, "executor-long")).not.toThrow();
  });

  it("lets so many more through when it is raised, and all when it is removed", async () => {
    const [account, subdomain] = await newAccount("raised", ["one", "other"]);
    await put("of-script", cap("one", 10), account);
    await put("of-account", cap(undefined, 12), account);
    expect(count(await callUntilRefused("one", subdomain), 200)).toBe(10);
    expect(count(await callUntilRefused("other", subdomain), 200)).toBe(2);
    await put("of-account", cap(undefined, 22), account);
    expect((await callWorker(platform, "one", "/", subdomain)).status).toBe(429);
    await put("of-script", cap("one", 17), account);
    expect(count(await callUntilRefused("one", subdomain), 200)).toBe(7);
    expect(count(await callUntilRefused("other", subdomain), 200)).toBe(3);
    await budgets("DELETE", "of-account", undefined, account);
    expect((await callWorker(platform, "one", "/", subdomain)).status).toBe(429);
    expect((await callWorker(platform, "other", "/", subdomain)).status).toBe(200);
    await budgets("DELETE", "of-script", undefined, account);
    expect((await callWorker(platform, "one", "/", subdomain)).status).toBe(200);
  });

  it("counts what has been used before it was made", async () => {
    await upload(platform, { name: "old", code: OK, isolation: "request" });
    for (let i = 0; i < 5; i++) {
      expect((await callWorker(platform, "old", "/")).status).toBe(200);
    }
    const path = `/accounts/${platform.accountId}/mayfly/usage?script=old`;
    await until(async () => {
      return (await callApi(platform, "GET", path)).result.total.invocations === 5;
    }, 10_000);
    expect(await put("old", cap("old", 8))).toMatchObject({ used: 5 });
    expect(count(await callUntilRefused("old"), 200)).toBe(3);
  });

  it("holds for one account and not for another with a script of the same name", async () => {
    const [other, subdomain] = await newAccount("other", ["same"]);
    await upload(platform, { name: "same", code: OK, isolation: "shared" });
    await put("all", cap(undefined, 3), other);
    expect(count(await callUntilRefused("same", subdomain), 200)).toBe(3);
    expect((await callWorker(platform, "same", "/")).status).toBe(200);
    expect((await budgets("GET", "all")).status).toBe(404);
    expect(await get("all", other)).toMatchObject({ used: 3 });
  });

  it("counts calls of other workers, which get an error that says so", async () => {
    const CALLEE = `import { WorkerEntrypoint } from "cloudflare:workers";
      export default class extends WorkerEntrypoint { fetch() { return new Response("ok"); } greet() { return "hello"; } }`;
    await upload(platform, { name: "callee", code: CALLEE, isolation: "shared" });
    const CALLER = `export default { async fetch(request, env) {
      try { return new Response(await env.CALLEE.greet()); }
      catch (error) { return new Response(error.message, { status: 500 }); }
    } };`;
    const bindings = [{ type: "service", name: "CALLEE", service: "callee" }];
    await upload(platform, {
      name: "caller",
      code: CALLER,
      isolation: "shared",
      metadata: { bindings },
    });
    await put("callee", cap("callee", 2));
    const answers = [];
    for (let i = 0; i < 3; i++) answers.push((await callWorker(platform, "caller", "/")).text);
    expect(answers.slice(0, 2)).toEqual(["hello", "hello"]);
    expect(answers[2]).toContain("Error 1027: Worker exceeded its budget");
    expect((await callWorker(platform, "callee", "/")).status).toBe(429);
  });

  it("loses nothing when executors are replaced", async () => {
    const [account, subdomain] = await newAccount("reloaded", ["one"]);
    await put("all", cap(undefined, 200), account);
    for (let i = 0; i < 4; i++) await callWorker(platform, "one", "/", subdomain);
    // Before they would have given back what they do not use.
    expect(await platform.mayfly(["reload"])).toMatchObject({ code: 0 });
    expect(await get("all", account)).toMatchObject({ used: 4 });
    expect(count(await callUntilRefused("one", subdomain), 200)).toBe(196);
  });

  it("is never passed, and loses little, when an executor and state are killed", async () => {
    const code = `export default { async fetch(request, { DB }) {
      await ${NOTE}("killed", crypto.randomUUID()).run();
      return new Response("ok");
    } };`;
    await upload(platform, {
      name: "killed",
      code,
      isolation: "shared",
      metadata: { bindings: [DB()] },
    });
    await put("killed", cap("killed", 600));
    const calls = callUntilRefused("killed");
    const reached = (number: number): Promise<void> =>
      until(async () => (await notesOf("killed").catch(() => [])).length > number, 30_000);
    await reached(80);
    process.kill(pidOf(platform, "executor-1"), "SIGKILL");
    await reached(200);
    const stateIsBack = killState();
    const answers = await calls;
    await stateIsBack();
    const begun = (await notesOf("killed")).length;
    expect(begun).toBeLessThanOrEqual(600);
    // What the executor that was killed held, beside what began and was cut short or could not write.
    const largestLease = 600 / (2 * 4);
    const failed = count(answers, 0) + count(answers, 500);
    expect(begun + failed).toBeGreaterThanOrEqual(600 - largestLease);
    expect(await get("killed")).toMatchObject({ used: 600, state: "stopped" });
  });
});

describe("what comes as an event, when a cap is reached", () => {
  it("waits in its queue, through crashes, and is worked on once when the cap is raised", async () => {
    const queueId = await createQueue(platform, "orders");
    await deployQueueWorker(platform, {
      name: "consumer",
      code: `export default { async queue({ messages }, { DB }) {
        for (const { body, attempts } of messages) {
          await ${NOTE}("consumer", body + " " + attempts).run();
        }
      } };`,
      isolation: "shared",
      bindings: [DB() as Record<string, unknown>],
      consumes: [{ queueId, settings: { batch_size: 1, max_retries: 0, max_wait_time_ms: 0 } }],
    });
    await deployCronWorker(platform, {
      name: "cron",
      code: "export default { scheduled() {} };",
      crons: ["0 0 29 2 *"],
    });
    await put("consumer", cap("consumer", 2));
    await put("cron", cap("cron", 1));
    await beginRun(platform, "cron", "0 0 29 2 *");
    await endedRun(platform, "cron");
    await beginRun(platform, "cron", "0 0 29 2 *");
    const messages = Array.from({ length: 8 }, (_, body) => ({ body, content_type: "json" }));
    const path = `/accounts/${platform.accountId}/queues/${queueId}/messages/batch`;
    await callApi(platform, "POST", path, { messages });
    await until(async () => (await notesOf("consumer")).length === 2, 10_000);
    await until(async () => (await get("consumer")).state === "stopped", 5_000);

    process.kill(pidOf(platform, "executor-2"), "SIGKILL");
    const stateIsBack = killState();
    await stateIsBack();
    expect(await notesOf("consumer")).toHaveLength(2);
    const [waiting] = await cronRuns(platform, "cron");
    expect(waiting).toMatchObject({ ended_at: null, tries: 0 });

    await put("consumer", cap("consumer", 20));
    await put("cron", cap("cron", 2));
    await until(async () => (await notesOf("consumer")).length >= 8, 15_000);
    expect(await endedRun(platform, "cron", 15_000)).toMatchObject({ outcome: "ok", tries: 1 });
    expect((await notesOf("consumer")).sort()).toEqual(messages.map(({ body }) => `${body} 1`));
    expect(await get("consumer")).toMatchObject({ used: 8 });
  });
});

describe("a throttle", () => {
  it("lets so many a second through when the limit is reached", async () => {
    await upload(platform, { name: "slowed", code: OK, isolation: "shared" });
    await put("slowed", {
      script: "slowed",
      limit: { invocations: 10 },
      period: "day",
      action: "throttle",
      throttle_per_second: 5,
    });
    const answers: WorkerAnswer[] = [];
    const begunAt = Date.now();
    const client = async (): Promise<void> => {
      while (Date.now() < begunAt + 2_500) answers.push(await callWorker(platform, "slowed", "/"));
    };
    await Promise.all([client(), client(), client(), client()]);
    const seconds = Math.floor(Date.now() / 1000) - Math.floor(begunAt / 1000) + 1;
    expect(count(answers, 200)).toBeLessThanOrEqual(10 + 5 * seconds);
    // Of the first second not all may be left when the limit is reached.
    expect(count(answers, 200)).toBeGreaterThanOrEqual(10 + 5 * 2);
    expect(answers.find(({ status }) => status === 429)).toMatchObject({
      code: "budget_exhausted",
      retryAfter: "1",
    });
    expect(await get("slowed")).toMatchObject({ state: "throttled" });
  });
});

describe("a budget in dollars", () => {
  it("stops its script when it is told of what was used", async () => {
    await upload(platform, { name: "dear", code: OK, isolation: "shared" });
    await put("dear", {
      script: "dear",
      limit: { usd: 1 },
      rates: { per_million_invocations: 100_000, per_million_cpu_ms: 0 },
      period: "month",
      action: "stop",
    });
    let calls = 0;
    await until(async () => {
      calls++;
      return (await callWorker(platform, "dear", "/")).status === 429;
    }, 30_000);
    const { used, state } = await get("dear");
    expect(state).toBe("stopped");
    expect(calls).toBeGreaterThan(10);
    await until(
      async () => (await get("dear")).used.toFixed(6) === ((calls - 1) / 10).toFixed(6),
      10_000,
    );
    expect(used).toBeGreaterThanOrEqual(1);
  });
});

describe("a budget of CPU time", () => {
  it("stops a script that computes, and none that waits", async () => {
    const code = `export default { async fetch() {
      for (const end = Date.now() + 20; Date.now() < end;);
      return new Response("ok");
    } };`;
    await upload(platform, { name: "busy", code, isolation: "shared" });
    const limit = { cpu_ms: 200 };
    await put("busy", { script: "busy", limit, period: "day", action: "stop" });
    let calls = 0;
    await until(async () => {
      calls++;
      return (await callWorker(platform, "busy", "/")).status === 429;
    }, 30_000);
    expect(calls).toBeGreaterThan(5);
    expect((await get("busy")).used).toBeGreaterThanOrEqual(200);

    const WAITING =
      "export default { fetch: () => scheduler.wait(20).then(() => new Response()) };";
    await upload(platform, { name: "waiting", code: WAITING, isolation: "shared" });
    await put("waiting", { script: "waiting", limit, period: "day", action: "stop" });
    for (let i = 0; i < 20; i++) {
      expect((await callWorker(platform, "waiting", "/")).status).toBe(200);
    }
  });
});

describe("a webhook", () => {
  it("gets each warning once, signed, and again if it failed", async () => {
    const code = `export default { async fetch(request, { DB }) {
        const body = await request.text();
        const headers = Object.fromEntries(request.headers);
        const id = headers["webhook-id"];
        const failing = !(await DB.prepare("SELECT 1 FROM notes WHERE note LIKE ?").bind("%" + id + "%").first());
        await ${NOTE}("webhook", JSON.stringify({ headers, body, failing })).run();
        return new Response(null, { status: failing ? 500 : 204 });
      } };`;
    const bindings = [DB()];
    await upload(platform, { name: "receiver", code, isolation: "shared", metadata: { bindings } });
    await upload(platform, { name: "watched", code: OK, isolation: "shared" });
    const { webhook_secret: secret = "" } = await put("watched", {
      script: "watched",
      limit: { invocations: 10 },
      warn_at: [0.5],
      period: "month",
      action: "stop",
      webhook: `http://receiver.dev.localhost:${platform.port}/hook`,
    });
    expect(secret).toMatch(/^whsec_/);
    expect(count(await callUntilRefused("watched"), 200)).toBe(10);

    type Received = { headers: Record<string, string>; body: string; failing: boolean };
    const received = async (): Promise<Received[]> =>
      (await notesOf("webhook")).map((note) => JSON.parse(note) as Received);
    const idsOf = (all: Received[]): (string | undefined)[] =>
      all.map(({ headers }) => headers["webhook-id"]);
    await until(async () => (await received()).length === 4, 20_000);
    const all = await received();
    for (const { headers, body } of all) {
      const { "webhook-id": id, "webhook-timestamp": timestamp } = headers;
      const key = Buffer.from(secret.slice("whsec_".length), "base64");
      const signature = createHmac("sha256", key).update(`${id}.${timestamp}.${body}`);
      expect(headers["webhook-signature"]).toBe(`v1,${signature.digest("base64")}`);
      expect(Math.abs(Date.now() / 1000 - Number(timestamp))).toBeLessThan(60);
    }
    // Each failed once, and came again.
    const [sent = [], failed = []] = [false, true].map((was) =>
      all.filter(({ failing }) => failing === was),
    );
    expect(idsOf(sent).sort()).toEqual(idsOf(failed).sort());
    const told = sent.map(({ body }) => JSON.parse(body) as { type: string; data: object });
    expect(told).toContainEqual(
      expect.objectContaining({
        type: "budget.warning",
        data: expect.objectContaining({
          account_id: platform.accountId,
          budget: "watched",
          script: "watched",
          limit: { invocations: 10 },
          share: 0.5,
        }),
      }),
    );
    expect(told).toContainEqual(
      expect.objectContaining({
        type: "budget.exhausted",
        data: expect.objectContaining({ share: 1, used: 10 }),
      }),
    );
    // Neither of them nor anything else comes again.
    expect(
      (
        await put("watched", {
          script: "watched",
          limit: { invocations: 10 },
          warn_at: [0.5],
          period: "month",
          action: "stop",
          webhook: `http://receiver.dev.localhost:${platform.port}/hook`,
        })
      ).webhook_secret,
    ).toBeUndefined();
    await sleep(500);
    expect(await received()).toHaveLength(4);
  });
});

const at = (text: string): number => Date.parse(`${text}Z`);

describe("periods", () => {
  it("begin and end in UTC", () => {
    expect(startOf("day", at("2028-02-29T23:59:59.999"))).toBe(at("2028-02-29T00:00"));
    expect(endOf("day", at("2028-02-29T23:59:59.999"))).toBe(at("2028-03-01T00:00"));
    expect(endOf("day", at("2028-03-01T00:00"))).toBe(at("2028-03-02T00:00"));
    expect(startOf("month", at("2026-12-31T23:00"))).toBe(at("2026-12-01T00:00"));
    expect(endOf("month", at("2026-12-31T23:00"))).toBe(at("2027-01-01T00:00"));
  });

  it("let a script run again when a new one begins", async () => {
    await upload(platform, { name: "daily", code: OK, isolation: "shared" });
    for (const [name, period] of [
      ["daily", "day"],
      ["monthly", "month"],
    ]) {
      await put(`${name}`, { script: "daily", limit: { invocations: 5 }, period, action: "stop" });
    }
    expect(count(await callUntilRefused("daily"), 200)).toBe(5);
    await put("monthly", {
      script: "daily",
      limit: { invocations: 8 },
      period: "month",
      action: "stop",
    });
    expect(count(await callUntilRefused("daily"), 200)).toBe(0);
    await platform.kill();
    changeBudgets(
      `UPDATE counters SET start = start - ${DAY_MS}, charged_since = start - ${DAY_MS} WHERE period = 'day'`,
    );
    platform = await startPlatform({
      dataDir: platform.dataDir,
      env: { MAYFLY_EXECUTORS: "2" },
    });
    // The day has begun anew, the month has not.
    expect(count(await callUntilRefused("daily"), 200)).toBe(3);
    expect(await get("daily")).toMatchObject({ used: 3, state: "ok" });
    expect(await get("monthly")).toMatchObject({ used: 8, state: "stopped" });
  });
});

/** Changes what accounts' budgets have kept, while the platform is down. */
function changeBudgets(sql: string): void {
  const objects = join(platform.dataDir, "state/do/mayfly-BudgetObject");
  for (const file of readdirSync(objects)) {
    if (!/^[0-9a-f]{64}\.sqlite$/.test(file)) continue;
    const db = new DatabaseSync(join(objects, file), { timeout: 5_000 });
    db.exec(sql);
    db.close();
  }
}

describe("the API and the command", () => {
  const limit = { invocations: 5 };

  it.each<[string, object, string]>([
    ["no limit", {}, "limit"],
    ["two limits", { limit: { invocations: 5, usd: 1 } }, "limit"],
    ["a part of an invocation", { limit: { invocations: 1.5 } }, "limit.invocations"],
    ["a share above all", { limit, warn_at: [80] }, "warn_at.0"],
    ["a throttle without a rate", { limit, action: "throttle" }, "throttle_per_second"],
    ["a rate without a throttle", { limit, throttle_per_second: 5 }, "throttle_per_second"],
    [
      "prices without dollars",
      { limit, rates: { per_million_invocations: 1, per_million_cpu_ms: 1 } },
      "rates",
    ],
    ["a private address", { limit, webhook: "http://169.254.169.254/" }, "webhook"],
    ["the platform's API", { limit, webhook: "http://localhost:8787/client/v4" }, "webhook"],
    ["what is no URL", { limit, webhook: "example.com" }, "webhook"],
    ["an unknown member", { limit, script_name: "x" }, "script_name"],
  ])("refuse %s, naming the field", async (_, body, field) => {
    const { status, message } = await budgets("PUT", "wrong", body);
    expect(status).toBe(400);
    expect(message).toMatch(new RegExp(`^${field}: `));
    expect((await budgets("GET", "wrong")).status).toBe(404);
  });

  it("refuse a script that there is not, and names that are none", async () => {
    const body = { limit, script: "nowhere" };
    const unknown: Answer = await budgets("PUT", "wrong", body);
    expect(unknown).toMatchObject({ status: 404, code: 10007 });
    expect((await budgets("PUT", "a%20b", { limit })).message).toMatch(/^name: /);
    expect((await budgets("DELETE", "wrong")).status).toBe(404);
  });

  it("take Cloudflare's prices where none are given", async () => {
    await put("priced", { limit: { usd: 5 } });
    expect((await budgets("GET", "priced")).result).toMatchObject({
      rates: { per_million_invocations: 0.3, per_million_cpu_ms: 0.02 },
      period: "month",
      action: "warn",
      state: "ok",
    });
    await budgets("DELETE", "priced");
  });

  it("set, list and remove budgets", async () => {
    const options =
      "--usd 5 --script daily --rates 1,2 --warn-at 0.25,0.5 --action throttle --per-second 3";
    const set = await platform.mayfly(["budget", "set", "cli", ...options.split(" ")]);
    expect(set).toMatchObject({ code: 0 });
    expect((await budgets("GET", "cli")).result).toMatchObject({
      limit: { usd: 5 },
      rates: { per_million_invocations: 1, per_million_cpu_ms: 2 },
      warn_at: [0.25, 0.5],
      throttle_per_second: 3,
      script: "daily",
    });
    const list = await platform.mayfly(["budget", "list"]);
    expect(list.stdout).toMatch(/^cli +daily +throttle +ok +usd a month/m);
    expect(list.stdout).toMatch(/^monthly +daily +stop +stopped .* 8 +8 +100 %$/m);
    expect(await platform.mayfly(["budget", "set", "cli", "--usd", "much"])).toMatchObject({
      code: 1,
      stderr: '--usd: got "much", must be a number\n',
    });
    expect(await platform.mayfly(["budget", "remove", "cli"])).toMatchObject({ code: 0 });
    expect((await budgets("GET", "cli")).status).toBe(404);
  });
});
