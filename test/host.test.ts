import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { meanwhile } from "./harness/meanwhile.ts";
import { freePort, startPlatform, type Platform } from "./harness/platform.ts";
import { childrenOf, isAlive, pidOf, until } from "./harness/processes.ts";

const RECOVERS_WITHIN_MS = 10_000;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "mayfly-host-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function answers({ fetchApi }: Platform): Promise<boolean> {
  try {
    return (await fetchApi("/user")).ok;
  } catch {
    return false;
  }
}

const startRefused = (env: Record<string, string>): Promise<unknown> =>
  startPlatform({ dataDir: join(folder, "refused"), env }).then((platform) => platform.kill());

async function createToken({ fetchApi, accountId }: Platform, name: string): Promise<void> {
  const body = JSON.stringify({ name });
  const response = await fetchApi(`/accounts/${accountId}/tokens`, { method: "POST", body });
  expect(response.status).toBe(200);
}

async function tokenNames({ fetchApi, accountId }: Platform): Promise<string[]> {
  const response = await fetchApi(`/accounts/${accountId}/tokens`);
  const { result } = (await response.json()) as { result: { name: string }[] };
  return result.map(({ name }) => name);
}

describe("a running platform", () => {
  let platform: Platform;
  beforeAll(async () => {
    platform = await startPlatform({
      env: { MAYFLY_TOKEN: "a-token-of-my-own", MAYFLY_EXECUTORS: "2" },
    });
  });
  afterAll(() => platform.stop());

  test("says where it is and what to do next", () => {
    expect(platform.output()).toContain(`http://127.0.0.1:${platform.port}`);
    expect(platform.output()).toContain(platform.api);
    expect(platform.output()).toContain(platform.dataDir);
    expect(platform.output()).toContain('eval "$(npx mayfly env)"');
    expect(platform.output()).toContain("npx wrangler deploy");
  });

  test("answers liveness and readiness", async () => {
    expect((await fetch(`${platform.url}/_mayfly/health`)).status).toBe(200);
    expect((await fetch(`${platform.url}/_mayfly/ready`)).status).toBe(200);
  });

  test("tells wrangler who it is", async () => {
    const { code, stdout } = await platform.wrangler(["whoami"]);
    expect(stdout).toContain(platform.accountId);
    expect(code).toBe(0);
  });

  test("takes the root token from MAYFLY_TOKEN, and only that one", async () => {
    expect(platform.token).toBe("a-token-of-my-own");
    expect((await platform.fetchApi("/user")).status).toBe(200);
    const { code } = await platform.mayfly(["token", "list"], { env: { MAYFLY_TOKEN: undefined } });
    expect(code).toBe(1);
  });

  test("keeps its credentials from other users", () => {
    expect(statSync(platform.dataDir).mode & 0o777).toBe(0o700);
    expect(statSync(join(platform.dataDir, "credentials.json")).mode & 0o777).toBe(0o600);
    expect(statSync(join(platform.dataDir, "state")).mode & 0o777).toBe(0o700);
  });

  test("refuses to share its data folder", async () => {
    const env = { PORT: String(await freePort()) };
    const { code, stderr } = await platform.mayfly(["start"], { env });
    expect(stderr).toContain(`MAYFLY_DATA: ${platform.dataDir} is in use`);
    expect(code).toBe(1);
  });

  test("serves again after each of its processes was killed", async () => {
    for (const name of ["executor-1", "executor-2", "state"] as const) {
      const pid = pidOf(platform, name);
      process.kill(pid, "SIGKILL");
      await until(() => !isAlive(pid), 1_000);
      await until(() => answers(platform), RECOVERS_WITHIN_MS);
      await until(() => pidOf(platform, name) !== pid, 1_000);
    }
  });

  test.runIf(process.platform === "linux")("serves again after state's runtime died", async () => {
    const [runtime] = childrenOf(pidOf(platform, "state"));
    process.kill(runtime as number, "SIGKILL");
    await until(async () => !(await answers(platform)), 1_000);
    await until(() => answers(platform), RECOVERS_WITHIN_MS);
  });

  test("replaces a quarantine that stands still", async () => {
    const pid = pidOf(platform, "quarantine");
    // As an endless loop at the top level of an uploaded module does.
    process.kill(pid, "SIGSTOP");
    await until(() => pidOf(platform, "quarantine") !== pid, 5_000);
    await until(() => !isAlive(pid), 1_000);
    expect(await answers(platform)).toBe(true);
  });
});

describe("stopping", () => {
  let platform: Platform;
  afterEach(() => platform.kill());

  test("keeps the data, in order or not", async () => {
    const dataDir = join(folder, "kept");
    platform = await startPlatform({ dataDir });
    const { accountId, token } = platform;
    await createToken(platform, "first");
    await platform.stop();
    expect(platform.process.exitCode).toBe(0);

    platform = await startPlatform({ dataDir });
    expect(platform).toMatchObject({ accountId, token });
    await createToken(platform, "second");
    await platform.kill();

    platform = await startPlatform({ dataDir });
    expect(await tokenNames(platform)).toEqual(["first", "second"]);
  });

  test("leaves no process behind when the supervisor is killed", async () => {
    platform = await startPlatform({ dataDir: join(folder, "killed") });
    const state = pidOf(platform, "state");
    const pids = [state, pidOf(platform, "executor-1"), pidOf(platform, "quarantine")];
    if (process.platform === "linux") pids.push(...childrenOf(state));
    await platform.kill();
    await until(() => !pids.some(isAlive), 2_000);
  });

  test("finishes requests in flight, and then waits for nothing else", async () => {
    platform = await startPlatform({ dataDir: join(folder, "drained") });
    const project = join(folder, "slow");
    mkdirSync(project);
    writeFileSync(
      join(project, "worker.js"),
      "export default { fetch: () => scheduler.wait(1500).then(() => new Response('late')) };",
    );
    writeFileSync(
      join(project, "wrangler.toml"),
      'name = "slow"\nmain = "worker.js"\ncompatibility_date = "2026-07-01"\n',
    );
    expect((await platform.wrangler(["deploy"], { cwd: project })).code).toBe(0);
    const response = meanwhile(platform.fetchHost("slow.dev.localhost"));
    await sleep(500);
    const begun = Date.now();
    const stopped = platform.stop();
    expect(await (await response).text()).toBe("late");
    await stopped;
    expect(Date.now() - begun).toBeLessThan(5_000);
    expect(platform.process.exitCode).toBe(0);
  });

  test("ends at once when it is told twice", async () => {
    platform = await startPlatform({ dataDir: join(folder, "twice") });
    sendHalf(platform);
    await sleep(300);
    const begun = Date.now();
    const stopped = platform.stop();
    await sleep(300);
    expect(platform.process.exitCode).toBe(null);
    platform.process.kill("SIGINT");
    await stopped;
    expect(Date.now() - begun).toBeLessThan(3_000);
    expect(platform.process.exitCode).toBe(1);
  });
});

/** Sends half of a request, which the platform then waits for. */
function sendHalf({ port, token, accountId }: Platform): void {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  const head = [
    `POST /client/v4/accounts/${accountId}/tokens HTTP/1.1`,
    `Host: localhost:${port}`,
    `Authorization: Bearer ${token}`,
    "Content-Length: 100",
  ];
  socket.write(`${head.join("\r\n")}\r\n\r\n{"name":`);
}

describe("settings", () => {
  test.each([
    ["PORT", "http", '"http", must be a whole number from 1 to 65535'],
    ["PORT", "70000", '"70000", must be a whole number from 1 to 65535'],
    ["MAYFLY_BIND", "localhost", '"localhost", must be an IP address'],
    ["MAYFLY_DOMAIN", "https://x.dev", '"https://x.dev", must be a host name'],
    ["MAYFLY_ZONES", "a.dev, b:80", '"a.dev, b:80", must be host names'],
    ["MAYFLY_API_HOSTS", "-", '"-", must be host names'],
    ["MAYFLY_TOKEN", "two words", '"two words", must be printable ASCII without spaces'],
  ])("%s=%s is refused", async (name, value, message) => {
    await expect(startRefused({ [name]: value })).rejects.toThrow(`${name}: got ${message}`);
    expect(existsSync(join(folder, "refused"))).toBe(false);
  });

  test("a taken port is refused", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    try {
      await expect(startRefused({ PORT: String(port) })).rejects.toThrow(
        `(exit code 1):\nPORT: ${port} on 127.0.0.1 is taken`,
      );
    } finally {
      server.close();
    }
  });
});
