import { globSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callApi, type Answer } from "./harness/api.ts";
import { beginRun, createNamespace, endedRun, keysOf } from "./harness/cron.ts";
import { wranglerWith } from "./harness/deploy.ts";
import { succeeds } from "./harness/expect-command.ts";
import { sendForm } from "./harness/form.ts";
import { metric } from "./harness/metrics.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { until } from "./harness/processes.ts";
import { account, backlogCount, createQueue, deployQueueWorker } from "./harness/queue.ts";

// The platform's default here: an endless loop is found out soon.
const CPU_MS = 500;
const MAX_CPU_MS = 5_000;
/** Until a stall has been noticed and its process replaced, on a busy machine. */
const FOUND_WITHIN_MS = 10_000;

const MAIN = join(import.meta.dirname, "workers/culprit/index.js");
const CODE = readFileSync(MAIN, "utf8");

let platform: Platform;
beforeAll(async () => {
  platform = await startPlatform({
    env: {
      MAYFLY_EXECUTORS: "2",
      MAYFLY_CPU_MS: String(CPU_MS),
      MAYFLY_MAX_CPU_MS: String(MAX_CPU_MS),
    },
  });
});
afterAll(() => platform?.stop());

/** Deploys the worker that does what its path says. */
async function deploy(name: string, isolation = "request", metadata: object = {}): Promise<void> {
  const script = `/accounts/${platform.accountId}/workers/scripts/${name}`;
  const all = { mayfly: { isolation }, ...metadata };
  const sent = await retried(() => sendForm(platform, "PUT", script, all, { "index.js": CODE }));
  expect(sent).toMatchObject({ status: 200 });
  await api("POST", `${script}/subdomain`, { enabled: true });
}

/** A connection that the API is called over may be one to the executor that has just been ended. */
async function retried<T>(call: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await call();
    } catch (error) {
      if (tries === 5 || !(error instanceof TypeError)) throw error;
    }
  }
}

const api = (method: string, path: string, body?: unknown): Promise<Answer> =>
  retried(() => callApi(platform, method, path, body));

interface Response {
  /** 0: the connection was closed without an answer. */
  status: number;
  text: string;
  code: string | undefined;
}

/** Calls a worker over a connection of its own. */
function call(name: string, path: string): Promise<Response> {
  return new Promise((resolve) => {
    const { port } = platform;
    const headers = { host: `${name}.dev.localhost:${port}` };
    const req = request({ host: "127.0.0.1", port, path, headers, agent: false }, (res) => {
      let text = "";
      res.setEncoding("utf8").on("data", (piece: string) => (text += piece));
      const code = res.headers["mayfly-error"] as string | undefined;
      res.once("error", () => resolve({ status: 0, text, code }));
      res.once("end", () => resolve({ status: res.statusCode ?? 0, text, code }));
    });
    req.once("error", () => resolve({ status: 0, text: "", code: undefined }));
    req.end();
  });
}

interface ApartScript {
  script_name: string;
  reason: string;
  culprit: boolean;
  strikes: number;
  since: number;
  until: number;
}

async function apart(): Promise<ApartScript[]> {
  const { result } = await api("GET", `/accounts/${platform.accountId}/mayfly/apart`);
  return result as ApartScript[];
}

const findApart = async (name: string): Promise<ApartScript | undefined> =>
  (await apart()).find(({ script_name }) => script_name === name);

const free = (name: string): Promise<Answer> =>
  api("DELETE", `/accounts/${platform.accountId}/mayfly/apart/${name}`);

const EXCEEDED = { status: 503, code: "exceeded_resources" };

/** How often it was called, and what was not answered as it should. */
async function callAgainAndAgain(
  name: string,
  path: string,
  goesOn: () => boolean,
): Promise<{ calls: number; failures: Response[] }> {
  const failures: Response[] = [];
  let calls = 0;
  for (; goesOn(); calls++) {
    const response = await call(name, path);
    if (response.status !== 200) failures.push(response);
  }
  return { calls, failures };
}

describe("a worker that does not give the thread back", () => {
  it.each([
    ["loop-at-once", "request"],
    ["loop-after-an-await", "request"],
    ["catastrophic-regular-expression", "request"],
    ["promises-without-end", "request"],
    ["calls-of-itself-without-end", "shared"],
  ])("%s (%s) is ended, and answers 1102 from then on", async (deed, isolation) => {
    const name = `${deed}-${isolation}`;
    await deploy(name, isolation);
    expect(await call(name, `/${deed}`)).toMatchObject({ status: 0 });
    expect(await findApart(name)).toMatchObject({ reason: "exceededCpu" });
    const second = await call(name, `/${deed}`);
    expect(second).toMatchObject(EXCEEDED);
    expect(second.text).toContain("Error 1102: Worker exceeded resource limits");
    expect(await findApart(name)).toMatchObject({ culprit: true });
    expect(await call(name, "/good")).toMatchObject({ status: 200 });
  });

  it("is what the metrics say that its process was started again for", async () => {
    // Each of the five has ended an executor.
    await until(async () => {
      const restarts = await retried(() =>
        metric(platform, "mayfly_process_restarts_total", { reason: "cpu" }),
      );
      return (restarts ?? 0) >= 5;
    }, FOUND_WITHIN_MS);
  });

  it("is found out also if it does so after its response", async () => {
    const name = "loop-after-the-response";
    await deploy(name, "shared");
    await until(async () => {
      await call(name, `/${name}`);
      return (await findApart(name))?.culprit === true;
    }, FOUND_WITHIN_MS);
  });

  it.each(["recursion", "a-million-timers"])("%s hurts nobody else", async (deed) => {
    await deploy(deed);
    await deploy(`neighbour-of-${deed}`);
    const { status } = await call(deed, `/${deed}`);
    // Timers that all are due at once may well take too long; an exception does not.
    if (deed === "recursion") expect(status).toBe(500);
    await until(
      async () => (await call(`neighbour-of-${deed}`, "/good")).status === 200,
      FOUND_WITHIN_MS,
    );
  });

  it("records what became of its invocations", async () => {
    await deploy("recorded", "request", { observability: { enabled: true } });
    await call("recorded", "/loop-at-once");
    await call("recorded", "/loop-at-once");
    const path = `/accounts/${platform.accountId}/mayfly/logs?script=recorded`;
    await until(async () => {
      const [newest] = (await api("GET", path)).result as { outcome: string; status: number }[];
      return newest?.outcome === "exceededCpu" && newest.status === 503;
    }, FOUND_WITHIN_MS);
  });
});

describe("others", () => {
  it("see nothing of a culprit that runs apart, however often it is called", async () => {
    await deploy("offender");
    await deploy("good");
    await call("offender", "/loop-at-once");
    expect(await findApart("offender")).toBeDefined();
    let offences = 0;
    let goesOn = true;
    const good = Promise.all(
      Array.from({ length: 4 }, () => callAgainAndAgain("good", "/good", () => goesOn)),
    );
    const end = Date.now() + 5_000;
    const offend = async (): Promise<void> => {
      for (; Date.now() < end; offences++) {
        expect(await call("offender", "/loop-at-once")).toMatchObject(EXCEEDED);
      }
    };
    await Promise.all([offend(), offend()]);
    goesOn = false;
    const clients = await good;
    expect(clients.flatMap(({ failures }) => failures)).toEqual([]);
    expect(clients.reduce((sum, { calls }) => sum + calls, 0)).toBeGreaterThan(100);
    expect(offences).toBeGreaterThan(1);
  });
});

describe("what runs apart", () => {
  beforeAll(async () => {
    await deploy("caught");
    await call("caught", "/loop-at-once");
  });

  it("is shown to its account, for how long", async () => {
    const shown = await findApart("caught");
    expect(shown).toMatchObject({ reason: "exceededCpu", culprit: true, strikes: 1 });
    const { since, until } = shown as ApartScript;
    expect(until - since).toBe(5 * 60_000);
  });

  it("stays there twice as long if it offends again after its release", async () => {
    const [file] = globSync("state/d1/**/*.sqlite", { cwd: platform.dataDir });
    const catalog = new DatabaseSync(join(platform.dataDir, file as string));
    // As if the time had passed. What executors remember is told anew with the next change of anything.
    catalog.exec("UPDATE apart_scripts SET until = 1000 * unixepoch() - 1000");
    catalog.close();
    await deploy("another");
    expect(await findApart("caught")).toBeUndefined();
    await call("caught", "/loop-at-once");
    const again = await findApart("caught");
    expect(again).toMatchObject({ culprit: true, strikes: 2 });
    const { since, until } = again as ApartScript;
    expect(until - since).toBe(10 * 60_000);
  });

  it("can be freed by its account", async () => {
    expect(await free("caught")).toMatchObject({ status: 200 });
    expect(await findApart("caught")).toBeUndefined();
    expect(await free("caught")).toMatchObject({ status: 404, code: 10007 });
    // It is as it was before: the first offence ends the process that all share.
    expect(await call("caught", "/loop-at-once")).toMatchObject({ status: 0 });
  });

  it("is named by the root token only", async () => {
    const path = `/accounts/${platform.accountId}/tokens`;
    const { value } = (await api("POST", path, { name: "t" })).result as { value: string };
    const incident = { script_ids: ["0".repeat(32)], reason: "exceededCpu", culprit: true };
    const answer = await callApi(platform, "POST", "/mayfly/suspects", incident, value);
    expect(answer).toMatchObject({ status: 403, code: 10000 });
  });
});

describe("an event handler in an endless loop", () => {
  it("loses its message to the dead letter queue, and other queues go on", async () => {
    const kv = await createNamespace(platform, "delivered");
    const bindings = [{ type: "kv_namespace", name: "KV", namespace_id: kv }];
    const [loops, dead, fine] = await Promise.all(
      ["loops", "dead", "fine"].map((name) => createQueue(platform, name)),
    );
    const consumer = { code: CODE, isolation: "request" as const, bindings };
    await deployQueueWorker(platform, {
      ...consumer,
      name: "looping-consumer",
      consumes: [
        {
          queueId: loops as string,
          deadLetterQueue: "dead",
          settings: { max_retries: 1, batch_size: 1, max_wait_time_ms: 0 },
        },
      ],
    });
    await deployQueueWorker(platform, {
      ...consumer,
      name: "fine-consumer",
      consumes: [{ queueId: fine as string, settings: { batch_size: 1, max_wait_time_ms: 0 } }],
    });
    const send = (queueId: string | undefined, body: string): Promise<unknown> =>
      retried(() =>
        account(platform, "POST", `/queues/${queueId}/messages`, { body, content_type: "text" }),
      );
    await send(loops, "loop");
    const sent = Array.from({ length: 10 }, (_, index) => `message-${index}`);
    for (const body of sent) {
      await send(fine, body);
      await sleep(200);
    }
    await until(
      async () => (await retried(() => keysOf(platform, kv))).length === sent.length,
      20_000,
    );
    await until(
      async () => (await retried(() => backlogCount(platform, dead as string))) === 1,
      20_000,
    );
    expect(await findApart("looping-consumer")).toMatchObject({ culprit: true });
    expect(await findApart("fine-consumer")).toBeUndefined();
  }, 60_000);

  it("ends as a cron's run that exceeded its CPU time", async () => {
    await deploy("looping-cron");
    const cron = "0 0 1 1 *";
    const path = `/accounts/${platform.accountId}/workers/scripts/looping-cron/schedules`;
    await api("PUT", path, [{ cron }]);
    await retried(() => beginRun(platform, "looping-cron", cron));
    const run = await retried(() => endedRun(platform, "looping-cron", 15_000));
    expect(run).toMatchObject({ outcome: "exceededCpu", tries: 2 });
    expect(run.error).toContain("Worker exceeded CPU time limit.");
  });
});

const limited = (cpu_ms: unknown): Record<string, unknown> => ({ limits: { cpu_ms } });

describe("limits.cpu_ms", () => {
  it("lets a worker deployed by wrangler compute for longer than the default", async () => {
    const config = { name: "long", main: MAIN, limits: { cpu_ms: 2_500 } };
    await succeeds(wranglerWith(platform, config, ["deploy"]));
    expect(await call("long", "/compute/1200")).toMatchObject({ status: 200 });
    // One after the other in one thread, each within its limit.
    const both = await Promise.all([call("long", "/compute/1700"), call("long", "/compute/1700")]);
    expect(both).toMatchObject([{ status: 200 }, { status: 200 }]);
    expect(await call("long", "/loop-at-once")).toMatchObject(EXCEEDED);
    const { result } = await api(
      "GET",
      `/accounts/${platform.accountId}/workers/scripts/long/versions`,
    );
    expect(result.items[0].resources.script_runtime.limits).toEqual({ cpu_ms: 2_500 });
  });

  it("keeps what computes for long from the others", async () => {
    await deploy("longer", "request", limited(4_000));
    await deploy("short");
    const computing = call("longer", "/compute/3000");
    const begun = Date.now();
    const { calls, failures } = await callAgainAndAgain(
      "short",
      "/good",
      () => Date.now() - begun < 2_000,
    );
    expect(failures).toEqual([]);
    expect(calls).toBeGreaterThan(20);
    expect(await computing).toMatchObject({ status: 200 });
  });

  it("ends sooner what asks for less than the default", async () => {
    await deploy("modest", "request", limited(250));
    // What was used can be seen only now and then, later on a busy machine.
    await until(async () => {
      await call("modest", "/loop-at-once");
      await free("modest");
      const stalls = platform.output().match(/"process_stalled".*/g);
      return Number(/"cpuMs":(\d+)/.exec(stalls?.at(-1) ?? "")?.[1]) < CPU_MS;
    }, 20_000);
  });

  it.each([
    [5, "to be >=10"],
    [1.5, "expected int"],
    ["100", "expected number"],
    [300_001, "to be <=300000"],
    [MAX_CPU_MS + 1, `must be from 10 to ${MAX_CPU_MS}`],
  ])("%j is refused", async (cpu_ms, message) => {
    const path = `/accounts/${platform.accountId}/workers/scripts/refused`;
    const answer = await retried(() => sendForm(platform, "PUT", path, limited(cpu_ms)));
    expect(answer).toMatchObject({ status: 400, code: 10021 });
    expect(answer.message).toContain(`limits.cpu_ms: got ${JSON.stringify(cpu_ms)}`);
    expect(answer.message).toContain(message);
  });
});

const names = ["busy-1", "busy-2", "busy-3"];
const suspected = async (): Promise<string[]> =>
  (await apart())
    .filter(({ culprit }) => !culprit)
    .map(({ script_name }) => script_name)
    .sort();

// One executor, so that all are in the same.
describe("several at work when their executor stands still", () => {
  beforeAll(async () => {
    await platform.stop();
    const env = { MAYFLY_EXECUTORS: "1", MAYFLY_CPU_MS: String(CPU_MS) };
    platform = await startPlatform({ env });
  });

  it("are suspected until the culprit is found, and work meanwhile", async () => {
    for (const name of [...names, "hidden"]) await deploy(name);
    const busy = names.map((name) => call(name, "/wait/10000"));
    await sleep(300);
    expect(await call("hidden", "/loop-at-once")).toMatchObject({ status: 0 });
    expect((await Promise.all(busy)).map(({ status }) => status)).toEqual([0, 0, 0]);
    expect(await suspected()).toEqual([...names, "hidden"].sort());

    // Where they are now they take turns, so that it is no longer hidden.
    const answers = names.map((name) => call(name, "/wait/300"));
    expect(await call("hidden", "/loop-at-once")).toMatchObject(EXCEEDED);
    for (const answer of await Promise.all(answers)) expect(answer).toMatchObject({ status: 200 });
    expect(await suspected()).toEqual([]);
    expect(await findApart("hidden")).toMatchObject({ culprit: true });
  });
});
