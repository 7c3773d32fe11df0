import { once } from "node:events";
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { text as readAll } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { succeeds } from "./harness/expect-command.ts";
import { meanwhile } from "./harness/meanwhile.ts";
import { metric } from "./harness/metrics.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { isAlive, pidOf, until } from "./harness/processes.ts";
import { upload } from "./harness/upload.ts";

const CALLS = 40;

/** Answers with its version, and after `?ms=` milliseconds. */
const source = (version: number): string => `
  export default {
    async fetch(request) {
      await scheduler.wait(Number(new URL(request.url).searchParams.get("ms") ?? 0));
      return new Response("v${version} " + request.headers.get("cf-ray").slice(0, 8));
    },
  };`;

let platform: Platform;
beforeAll(async () => {
  platform = await startPlatform({ env: { MAYFLY_EXECUTORS: "2" } });
  await upload(platform, { name: "app", code: source(1), isolation: "shared" });
});
afterAll(() => platform.stop());

/** The version that answered and the process it ran in, over a connection of its own unless one is given. */
function call(path = "/", agent?: Agent): Promise<{ version: string; process: string }> {
  return new Promise((resolve, reject) => {
    const headers = { host: `app.dev.localhost:${platform.port}` };
    const { port } = platform;
    const req = request(
      { host: "127.0.0.1", port, path, headers, agent: agent ?? false },
      (res) => {
        let text = "";
        res.setEncoding("utf8").on("data", (piece: string) => (text += piece));
        res.once("error", reject);
        res.once("end", () => {
          const [version = "", process = ""] = text.split(" ");
          if (res.statusCode === 200) resolve({ version, process });
          else reject(new Error(`${res.statusCode} ${text}`));
        });
      },
    );
    req.once("error", reject);
    req.end();
  });
}

/** Connects to the platform; what that resolves with sends a request then and reads all that is answered. */
async function connected(): Promise<() => Promise<string>> {
  const socket = connect(platform.port, "127.0.0.1");
  await once(socket, "connect");
  const answered = meanwhile(readAll(socket));
  return () => {
    const host = `app.dev.localhost:${platform.port}`;
    socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    return answered;
  };
}

const callMany = (): Promise<{ version: string; process: string }[]> =>
  Promise.all(Array.from({ length: CALLS }, () => call()));

const executors = (): number[] => [pidOf(platform, "executor-1"), pidOf(platform, "executor-2")];

test("all executors serve from one port", async () => {
  const seen = new Set<string>();
  await until(async () => {
    for (const { process } of await callMany()) seen.add(process);
    return seen.size === 2;
  }, 10_000);
});

test("a deploy is seen by every executor at once", async () => {
  await upload(platform, { name: "app", code: source(2), isolation: "shared" });
  const versions = (await callMany()).map(({ version }) => version);
  expect(new Set(versions)).toEqual(new Set(["v2"]));
});

test("metrics are those of all executors", async () => {
  expect(await metric(platform, "mayfly_executors")).toBe(2);
});

test("a connection made while an executor is down waits for it", async () => {
  const killed = executors();
  for (const pid of killed) process.kill(pid, "SIGKILL");
  await until(() => !killed.some(isAlive), 1_000);
  expect((await call()).version).toBe("v2");
});

function deployLong(version: number): Promise<void> {
  const metadata = { limits: { cpu_ms: 10_000 } };
  return upload(platform, { name: "long", code: source(version), isolation: "shared", metadata });
}

const callLong = async (): Promise<string> =>
  (await platform.fetchHost("long.dev.localhost")).text();

describe("the executor of scripts that ask for more CPU time", () => {
  test("is not there before one of them is called", async () => {
    await deployLong(1);
    expect(platform.output()).not.toContain('"process":"executor-long"');
    expect(await callLong()).toMatch(/^v1 /);
    expect(isAlive(pidOf(platform, "executor-long"))).toBe(true);
  });

  test("hears of deploys once it is there", async () => {
    await deployLong(2);
    expect(await callLong()).toMatch(/^v2 /);
  });
});

describe("mayfly reload", () => {
  test("replaces all executors without a failed request", async () => {
    const before = executors();
    const failures: unknown[] = [];
    const load = { goesOn: true, calls: 0 };
    const tryCall = async (path?: string): Promise<void> => {
      await call(path).catch((error) => failures.push(error));
      load.calls++;
    };
    const client = async (): Promise<void> => {
      while (load.goesOn) await tryCall();
    };
    const clients = Array.from({ length: 4 }, client);
    const slow = Array.from({ length: 3 }, () => tryCall("/?ms=1500"));
    await succeeds(platform.mayfly(["reload"]));
    load.goesOn = false;
    await Promise.all([...clients, ...slow]);
    expect(failures).toEqual([]);
    expect(load.calls).toBeGreaterThan(100);
    expect(before.some(isAlive)).toBe(false);
    expect(executors().every(isAlive)).toBe(true);
    expect((await call()).version).toBe("v2");
  });

  test.skipIf(process.platform !== "linux")(
    "loses no client that has connected and sends its request only then",
    async () => {
      const clients = await Promise.all(Array.from({ length: 20 }, () => connected()));
      await succeeds(platform.mayfly(["reload"]));
      const answers = await Promise.all(clients.map((ask) => ask()));
      expect(answers.filter((answer) => !answer.startsWith("HTTP/1.1 200 "))).toEqual([]);
    },
  );

  test("still hears of deploys afterwards", async () => {
    await upload(platform, { name: "app", code: source(3), isolation: "shared" });
    const versions = (await callMany()).map(({ version }) => version);
    expect(new Set(versions)).toEqual(new Set(["v3"]));
  });

  test("says so when no platform runs", async () => {
    const { code, stderr } = await platform.mayfly(["reload"], { env: { MAYFLY_DATA: "/tmp" } });
    expect(stderr).toContain("MAYFLY_DATA: no platform runs on /tmp");
    expect(code).toBe(1);
  });
});
