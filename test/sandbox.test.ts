import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { callWorker } from "./harness/call-worker.ts";
import { startNetworkNamespace } from "./harness/network-namespace.ts";
import { freePort, startPlatform, type Platform } from "./harness/platform.ts";
import { isAlive, pidOf, until, type ProcessName } from "./harness/processes.ts";
import { upload } from "./harness/upload.ts";

const noSandbox = whyNoSandbox();
if (noSandbox) console.warn(`The sandbox is not tested: ${noSandbox}`);

function whyNoSandbox(): string | undefined {
  const options = ["--unshare-user", "--disable-userns", "--unshare-net", "--unshare-pid"];
  const { error, status, stderr } = spawnSync(
    "bwrap",
    [...options, "--ro-bind", "/", "/", "true"],
    { encoding: "utf8" },
  );
  if (error) return `bubblewrap is not installed: ${error.message}`;
  return status === 0 ? undefined : `bubblewrap does not work: ${stderr}`;
}

/** Tries what the request's body says and tells what came of it. */
const TRIES = `
  import { connect } from "cloudflare:sockets";
  import { readdir, readFile } from "node:fs/promises";
  import net from "node:net";
  const ways = {
    read: (path) => readFile(path, "utf8"),
    list: async (path) => (await readdir(path)).join(),
    fetch: async (url) => (await fetch(url)).text(),
    async connect(address) {
      const socket = connect(address);
      const writer = socket.writable.getWriter();
      await writer.write(new TextEncoder().encode("hello"));
      await writer.close();
      return new Response(socket.readable).text();
    },
    node: (address) => new Promise((resolve, reject) => {
      const [host, port] = address.split(":");
      const socket = net.connect({ host, port: Number(port) });
      socket.on("data", resolve).on("error", reject).on("close", () => reject(new Error("closed")));
      socket.write("GET / HTTP/1.0\\r\\n\\r\\n");
    }),
  };
  export default {
    async fetch(request) {
      const [way, value] = await request.json();
      const text = await ways[way](value).catch((error) => "refused: " + error.message);
      return new Response(text);
    },
  };`;

type Tries = (way: string, value: string) => Promise<string>;

async function deployTries(platform: Platform): Promise<Tries> {
  // Node's modules belong to the later dates.
  const metadata = { compatibility_date: "2026-11-01" };
  await upload(platform, { name: "tries", code: TRIES, isolation: "shared", metadata });
  return async (way, value) => {
    const init = { method: "POST", body: JSON.stringify([way, value]) };
    return (await platform.fetchHost("tries.dev.localhost", "/", init)).text();
  };
}

/** Has the platform start the executors that are there only if something must not run with all else. */
async function startLanes(platform: Platform): Promise<void> {
  const code = `export default {
    fetch({ url }) {
      while (url.endsWith("/loop"));
      return new Response();
    },
  };`;
  const metadata = { limits: { cpu_ms: 1_000 } };
  await upload(platform, { name: "long", code, isolation: "request", metadata });
  await upload(platform, { name: "apart", code, isolation: "request" });
  await callWorker(platform, "apart", "/loop");
  for (const name of ["long", "apart"]) {
    await until(async () => (await callWorker(platform, name, "/")).status === 200, 10_000);
  }
}

/** A server on this machine's loopback. */
const origin = createServer((socket) => {
  socket.on("error", () => {});
  socket.end("HTTP/1.0 200 OK\r\n\r\nreached");
});
let originPort: number;
beforeAll(async () => {
  await new Promise<void>((resolve) => origin.listen(0, "127.0.0.1", resolve));
  originPort = (origin.address() as AddressInfo).port;
});
afterAll(() => void origin.close());

describe.skipIf(noSandbox !== undefined)("in a sandbox", () => {
  let platform: Platform;
  let tries: Tries;
  beforeAll(async () => {
    const env = { MAYFLY_SANDBOX: "on", MAYFLY_EXECUTORS: "1", MAYFLY_CPU_MS: "250" };
    platform = await startPlatform({ env });
    tries = await deployTries(platform);
    await startLanes(platform);
  });
  afterAll(() => platform?.stop());

  const fileOf = (name: ProcessName, file: string): string =>
    readFileSync(`/proc/${pidOf(platform, name)}/${file}`, "utf8").trim();
  const statusOf = (name: ProcessName, field: string): string | undefined =>
    new RegExp(`^${field}:\\s+(.*)$`, "m").exec(fileOf(name, "status"))?.[1];

  test("the platform says so when it starts", () => {
    expect(platform.output()).toContain('"event":"sandbox"');
    expect(platform.output()).toContain("in a sandbox");
  });

  const users: ProcessName[] = ["executor-1", "executor-apart", "executor-long", "quarantine"];
  describe.each(users)("%s", (name) => {
    test("has namespaces of its own", () => {
      for (const namespace of ["net", "mnt", "pid", "user", "ipc", "uts"]) {
        const own = readlinkSync(`/proc/${pidOf(platform, name)}/ns/${namespace}`);
        expect(own, namespace).not.toBe(readlinkSync(`/proc/self/ns/${namespace}`));
      }
      // Nothing is in it that it could send signals to.
      expect(statusOf(name, "NSpid")?.split(/\s+/).at(-1)).toBe("1");
    });

    test("has no privileges, and no way to get any", () => {
      for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
        expect(statusOf(name, set), set).toBe("0000000000000000");
      }
      expect(statusOf(name, "NoNewPrivs")).toBe("1");
      expect(statusOf(name, "Seccomp")).toBe("2");
    });

    test("sees no file but those that it needs, and writes only where its sockets are", () => {
      const mounts = fileOf(name, "mountinfo")
        .split("\n")
        .map((line) => line.split(" "))
        .map(([, , , , point = "", options = ""]) => ({
          point,
          writable: !/^ro(,|$)/.test(options),
        }));
      for (const { point } of mounts) {
        expect(point).toMatch(/^\/$|\/workerd$|^\/(usr\/)?lib[\w/.+-]*\.so|\/mayfly-\w+\/[\w.-]+$/);
      }
      const writable = mounts.filter((mount) => mount.writable).map(({ point }) => point);
      expect(writable).toHaveLength(1);
      expect(writable[0]).toMatch(new RegExp(`/mayfly-\\w+/${name}(\\.0)?$`));

      const root = `/proc/${pidOf(platform, name)}/root`;
      for (const path of ["etc", "home", "root", "dev", "usr/bin", "bin", platform.dataDir]) {
        expect(() => readdirSync(join(root, path)), path).toThrow("ENOENT");
      }
      // Of processes nothing but the name of its own program.
      expect(readdirSync(join(root, "proc"))).toEqual(["self"]);
      expect(readdirSync(join(root, "proc/self"))).toEqual(["exe"]);
    });

    test("has no network but a loopback of its own", async () => {
      const devices = fileOf(name, "net/dev").match(/\w+(?=:)/g);
      expect(devices).toEqual(["lo"]);
      expect(fileOf(name, "net/route").split("\n")).toHaveLength(1);
      const connect = `require("node:net").connect(${originPort}, "127.0.0.1")
        .on("connect", () => process.exit(0)).on("error", ({ code }) => console.log(code))`;
      const node = [process.execPath, "-e", connect];
      expect(await print(node)).toBe("");
      const options = ["--user", "--net", "--preserve-credentials"];
      const enter = ["nsenter", `--target=${pidOf(platform, name)}`, ...options];
      expect(await print([...enter, ...node])).toBe("ECONNREFUSED\n");
    });
  });

  test("executors see the sockets of those that they call and no others", async () => {
    const root = `/proc/${pidOf(platform, "executor-apart")}/root${tmpdir()}`;
    // The checkout may be in that folder, too.
    const runtime = readdirSync(root).find((name) => name.startsWith("mayfly-")) ?? "";
    const listed = (folder: string): string[] =>
      readdirSync(join(root, runtime, folder)).toSorted();
    // Not all processes that are called need be there when the platform is ready.
    await until(() => listed("called").length >= 5, 10_000);
    expect(listed("")).toEqual([
      "called",
      "compatibility.capnp",
      "executor-apart.0",
      "lane.capnp",
      "worker.js",
    ]);
    expect(listed("called")).toEqual([
      "egress",
      "executor-apart",
      "executor-long",
      "shard-1",
      "state:0",
    ]);
  });

  test("workers find none of the machine's files", async () => {
    for (const path of ["/etc/passwd", "/proc/self/environ", "/proc/1/mem", process.execPath]) {
      expect(await tries("read", path), path).toMatch(/^refused/);
    }
    expect(await tries("list", "/")).not.toContain("etc");
  });

  test("an executor that is killed takes nothing along and is back", async () => {
    const pid = pidOf(platform, "executor-1");
    process.kill(pid, "SIGKILL");
    await until(() => !isAlive(pid) && pidOf(platform, "executor-1") !== pid, 5_000);
    expect(await tries("read", "/etc/passwd")).toMatch(/^refused/);
  });

  test("an egress process that is killed is back", async () => {
    const pid = pidOf(platform, "egress");
    process.kill(pid, "SIGKILL");
    await until(() => !isAlive(pid) && pidOf(platform, "egress") !== pid, 5_000);
  });
});

const port = await freePort();
const namespace = await startNetworkNamespace(port);
const noNamespace = typeof namespace === "string";
if (noNamespace) console.warn(`Nothing is sent to public addresses: ${namespace}`);
afterAll(async () => {
  if (!noNamespace) await namespace.stop();
});

describe.each(["on", "off"])("with the sandbox %s", (mode) => {
  const skipped = mode === "on" && noSandbox !== undefined;
  let platform: Platform;
  let tries: Tries;
  beforeAll(async () => {
    if (skipped) return;
    const env = { PORT: String(port), MAYFLY_SANDBOX: mode, MAYFLY_EXECUTORS: "1" };
    platform = await startPlatform({ env, ...(!noNamespace && { within: namespace.enter }) });
    tries = await deployTries(platform);
  });
  afterAll(() => platform?.stop());

  test.skipIf(skipped)("loopback is refused to workers", async () => {
    const host = `127.0.0.1:${noNamespace ? originPort : 8080}`;
    for (const [way, value] of [
      ["fetch", `http://${host}/`],
      ["connect", host],
      ["node", host],
    ] as const) {
      expect(await tries(way, value), way).toMatch(/^refused/);
    }
  });

  test.skipIf(skipped || noNamespace)("public hosts are reached", async () => {
    expect(await tries("fetch", "http://public.test:8080/some?path")).toContain('"/some?path"');
    expect(await tries("connect", "public.test:7")).toBe("hello");
    expect(await tries("node", "public.test:8080")).toContain("200 OK");
  });

  test.skipIf(skipped || noNamespace)("private hosts are refused, also behind names", async () => {
    expect(await tries("fetch", "http://private.test:8080/")).toContain("(rule no_public_address)");
    expect(await tries("connect", "private.test:7")).not.toContain("hello");
    expect(await tries("fetch", "http://10.1.2.3:8080/")).toContain("(rule private_address)");
    const seen = noNamespace ? [] : namespace.contacts.map(({ address }) => address);
    expect(seen).not.toContain("10.1.2.3");
  });

  test.skipIf(skipped || noNamespace)(
    "a host that does not listen is told from one that is refused",
    async () => {
      expect(await tries("fetch", "http://public.test:9/")).toBe(
        "refused: Network connection lost.",
      );
    },
  );
});

describe("without bubblewrap", () => {
  // What else the platform starts by name.
  const folder = mkdtempSync(join(tmpdir(), "mayfly-path-"));
  for (const name of ["rm", "ldd"]) symlinkSync(`/usr/bin/${name}`, join(folder, name));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const env = { PATH: folder, MAYFLY_EXECUTORS: "1" };

  test("the platform starts, and says that there is no sandbox", async () => {
    const platform = await startPlatform({ env: { ...env, MAYFLY_SANDBOX: "auto" } });
    expect(platform.output()).toMatch(/"event":"no_sandbox","reason":"bubblewrap is not installed/);
    expect(platform.output()).toContain("without a sandbox");
    await platform.stop();
  });

  test("it does not start if there must be one", async () => {
    await expect(startPlatform({ env: { ...env, MAYFLY_SANDBOX: "on" } })).rejects.toThrow(
      "MAYFLY_SANDBOX: is on, but the sandbox does not work: bubblewrap is not installed",
    );
  });
});

/** What the command prints. */
async function print([file = "", ...args]: string[]): Promise<string> {
  return (await promisify(execFile)(file, args)).stdout;
}
