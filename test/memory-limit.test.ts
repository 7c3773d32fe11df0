import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callWorker, retried, type WorkerAnswer } from "./harness/call-worker.ts";
import { sendForm } from "./harness/form.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { pidOf, until } from "./harness/processes.ts";
import { account, backlogCount, createQueue, deployQueueWorker } from "./harness/queue.ts";
import { upload } from "./harness/upload.ts";

const MEMORY_MB = 300;
/** Until the loss of a process has been noticed and another serves, on a busy machine. */
const BACK_WITHIN_MS = 10_000;

const CODE = readFileSync(join(import.meta.dirname, "workers/memory-eater/index.js"), "utf8");

let platform: Platform;
beforeAll(async () => {
  platform = await startPlatform({
    env: { MAYFLY_EXECUTORS: "2", MAYFLY_EXECUTOR_MEMORY_MB: String(MEMORY_MB) },
  });
});
afterAll(() => platform?.stop());

const deploy = (
  name: string,
  isolation: "request" | "shared" = "request",
  metadata = {},
): Promise<void> => retried(() => upload(platform, { name, code: CODE, isolation, metadata }));

const call = (name: string, path: string): Promise<WorkerAnswer> =>
  callWorker(platform, name, path);

interface ApartScript {
  script_name: string;
  reason: string;
  culprit: boolean;
}

async function findApart(name: string): Promise<ApartScript | undefined> {
  const all = await retried(() => account<ApartScript[]>(platform, "GET", "/mayfly/apart"));
  return all.find(({ script_name }) => script_name === name);
}

/** Ends what earlier workers have left in memory. */
async function renewExecutors(): Promise<void> {
  expect(await platform.mayfly(["reload"])).toMatchObject({ code: 0 });
}

/** Memory in MiB of each process, as the metrics say it. */
async function memory(): Promise<Record<string, number>> {
  const response = await retried(() =>
    fetch(`${platform.url}/_mayfly/metrics`, {
      headers: { authorization: `Bearer ${platform.token}` },
    }),
  );
  const lines = (await response.text()).matchAll(
    /^mayfly_process_memory_bytes\{process="(.+?)"\} (\d+)$/gm,
  );
  return Object.fromEntries([...lines].map(([, name, bytes]) => [name, Number(bytes) / 2 ** 20]));
}

const ended = (): number => platform.output().match(/"event":"memory_exceeded"/g)?.length ?? 0;

const EXCEEDED = { status: 503, code: "exceeded_resources" };
const GOOD = { status: 200, text: "survived" };

// First, since an executor is replaced only now and then.
it("a process that slowly gets too large is replaced without a failed request", async () => {
  await deploy("slow", "shared");
  const before = ended();
  const earlier = platform.output().length;
  const replaced = (): boolean => platform.output().includes('"event":"memory_outgrown"', earlier);
  const answers: WorkerAnswer[] = [];
  const deadline = Date.now() + 30_000;
  while (!replaced() && Date.now() < deadline) {
    answers.push(await call("slow", "/keep/2"));
    await sleep(20);
  }
  expect(replaced()).toBe(true);
  for (let i = 0; i < 20; i++) answers.push(await call("slow", "/good"));
  expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
  expect(ended()).toBe(before);
  expect(await findApart("slow")).toBeUndefined();
  // What it has left there is not to be taken for the next one's.
  await renewExecutors();
}, 45_000);

describe("a worker that eats memory", () => {
  it.each([
    ["strings", "request"],
    ["strings-after-an-await", "shared"],
    ["an-array", "request"],
    ["buffers", "shared"],
    ["a-body-read-whole", "request"],
    ["two-branches", "shared"],
  ] as const)("%s (%s) is ended, and answers 1102 from then on", async (deed, isolation) => {
    await deploy(deed, isolation);
    expect(await call(deed, `/${deed}`)).toMatchObject({ status: 0 });
    expect(await findApart(deed)).toMatchObject({ reason: "exceededMemory", culprit: true });
    const second = await call(deed, `/${deed}`);
    expect(second).toMatchObject(EXCEEDED);
    expect(second.text).toContain("Error 1102: Worker exceeded resource limits");
    expect(await call(deed, "/good")).toMatchObject(GOOD);
  });

  it("is found out also if each of its invocations keeps only some", async () => {
    await deploy("keeper", "shared");
    await until(async () => {
      await call("keeper", "/keep/20");
      return (await findApart("keeper")) !== undefined;
    }, BACK_WITHIN_MS);
  });

  it("is told from a good one that works beside it", async () => {
    await deploy("good-one");
    await deploy("eater");
    await renewExecutors();
    const done = new AbortController();
    const good = (async () => {
      for (; !done.signal.aborted; await sleep(20)) await call("good-one", "/good");
    })();
    expect(await call("eater", "/strings-after-an-await")).toMatchObject({ status: 0 });
    done.abort();
    await good;
    expect(await findApart("eater")).toBeDefined();
    expect(await findApart("good-one")).toBeUndefined();
  });

  it("records what became of its invocations", async () => {
    await deploy("recorded", "request", { observability: { enabled: true } });
    await call("recorded", "/buffers");
    await call("recorded", "/buffers");
    const path = "/mayfly/logs?script=recorded";
    await until(async () => {
      const all = await account<{ outcome: string; status: number }[]>(platform, "GET", path);
      return all.some(({ outcome, status }) => outcome === "exceededMemory" && status === 503);
    }, BACK_WITHIN_MS);
  });

  it("cannot be deployed if it does so at top level", async () => {
    const code = `const kept = [];
      for (let i = 0; i < 1536; i++) kept.push(new Uint8Array(2 ** 20).fill(1));
      export default { fetch: () => new Response(String(kept.length)) };`;
    const path = `/accounts/${platform.accountId}/workers/scripts/eats-at-once`;
    const sent = await sendForm(platform, "PUT", path, {}, { "index.js": code });
    expect(sent).toMatchObject({ status: 400, code: 10021 });
    expect(sent.message).toMatch(/^Script startup exceeded (memory|CPU time) limit\.$/);
    await deploy("after-it");
    expect(await call("after-it", "/good")).toMatchObject(GOOD);
  });
});

describe("others", () => {
  it("see nothing of a culprit that runs apart, however often it is called", async () => {
    await deploy("offender");
    await deploy("good");
    // The executor that takes the first call may be ended for what others have left in it.
    await until(
      async () => (await call("offender", "/buffers")).code === EXCEEDED.code,
      BACK_WITHIN_MS,
    );
    const answers: WorkerAnswer[] = [];
    const done = new AbortController();
    const good = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (!done.signal.aborted) answers.push(await call("good", "/good"));
      }),
    );
    const end = Date.now() + 4_000;
    let offences = 0;
    for (; Date.now() < end; offences++) {
      expect(await call("offender", "/buffers")).toMatchObject(EXCEEDED);
    }
    done.abort();
    await good;
    expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
    expect(answers.length).toBeGreaterThan(100);
    expect(offences).toBeGreaterThan(1);
  });
});

it("blames who grew fast for a process that the engine ends for lack of memory", async () => {
  await deploy("out-of-memory");
  await renewExecutors();
  // As on a machine that has no more: the engine gets none from the kernel.
  for (const name of ["executor-1", "executor-2"] as const) {
    const pid = pidOf(platform, name);
    const kib = /^VmData:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    execFileSync("prlimit", ["--pid", String(pid), `--data=${(Number(kib) + 150 * 1024) * 1024}`]);
  }
  const before = ended();
  expect(await call("out-of-memory", "/an-array")).toMatchObject({ status: 0 });
  expect(ended()).toBe(before);
  await until(async () => (await findApart("out-of-memory")) !== undefined, BACK_WITHIN_MS);
});

it("a consumer that eats memory loses its message to the dead letter queue", async () => {
  const [eats, dead] = await Promise.all(
    ["eats", "dead"].map((name) => createQueue(platform, name)),
  );
  await deployQueueWorker(platform, {
    name: "eating-consumer",
    code: CODE,
    isolation: "request",
    consumes: [
      {
        queueId: eats as string,
        deadLetterQueue: "dead",
        settings: { max_retries: 1, batch_size: 1, max_wait_time_ms: 0 },
      },
    ],
  });
  const message = { body: "buffers", content_type: "text" };
  await account(platform, "POST", `/queues/${eats}/messages`, message);
  await until(
    async () => (await retried(() => backlogCount(platform, dead as string))) === 1,
    20_000,
  );
  expect(await findApart("eating-consumer")).toMatchObject({ culprit: true });
}, 30_000);

it("gives its memory back, as its metrics say", async () => {
  const names = ["quarantine", "shard-1", "executor-1", "executor-apart"];
  let last: Record<string, number> = {};
  await until(async () => {
    last = await memory();
    return names.every((name) => (last[name] ?? Infinity) < MEMORY_MB);
  }, 15_000);
});
