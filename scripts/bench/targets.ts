import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import workerd from "workerd";
import { freePort, startPlatform, type Platform } from "../../test/harness/platform.ts";
import { upload } from "../../test/harness/upload.ts";
import { Connection, requestBytes } from "./connection.ts";
import { mayflyQueue, miniflareQueue, type QueueTarget } from "./queue.ts";

const HERE = import.meta.dirname;
const ROOT = dirname(dirname(HERE));
const HELLO = readFileSync(join(HERE, "hello.js"), "utf8");
const READY_WITHIN_MS = 30_000;

/** Something that answers one request, again and again. */
export interface Target {
  port: number;
  request: Buffer;
}

/** What one bench run measures, all serving the same worker but `node`. */
export interface Targets {
  plain: Target;
  /** A bare dispatch into a warm dynamic isolate. */
  loader: Target;
  /** A bare dispatch that makes an isolate for each request. */
  load: Target;
  shared: Target;
  request: Target;
  wranglerDev: Target;
  node: Target;
  /** Requests to isolates of workerd's own loader that have never been called. */
  firstInLoader(count: number): Promise<{ port: number; requests: Buffer[] }>;
  /** Requests to scripts of Mayfly that have never been called. */
  firstInMayfly(count: number): Promise<{ port: number; requests: Buffer[] }>;
  /** All in `shared` mode; Miniflare gives out one batch at a time. */
  queues: { mayfly: QueueTarget; mayflyOneByOne: QueueTarget; miniflare: QueueTarget };
  stop(): Promise<void>;
}

/** Starts all of them on free ports. */
export async function startTargets(): Promise<Targets> {
  const folder = mkdtempSync(join(tmpdir(), "mayfly-bench-"));
  const children: ChildProcess[] = [];
  const start = (command: string, args: string[]): void => {
    const child = spawn(command, args, { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
    children.push(child);
  };
  const [plain, warm, first, load, wranglerDev, node] = await Promise.all(
    Array.from({ length: 6 }, freePort),
  );
  const sockets = { plain, warm, first, load };
  start(workerd.default, [
    "serve",
    "--experimental",
    ...Object.entries(sockets).map(([name, port]) => `--socket-addr=${name}=127.0.0.1:${port}`),
    join(HERE, "workerd.capnp"),
  ]);
  writeFileSync(join(folder, "hello.js"), HELLO);
  writeFileSync(
    join(folder, "wrangler.json"),
    JSON.stringify({ name: "hello", main: "hello.js", compatibility_date: "2026-07-01" }),
  );
  const wrangler = join(ROOT, "node_modules/wrangler/bin/wrangler.js");
  const devOptions = ["--port", String(wranglerDev), "--inspector-port", "0"];
  start(process.execPath, [wrangler, "dev", ...devOptions, "--log-level", "error"]);
  start(process.execPath, [join(HERE, "node-server.js"), String(node)]);

  const platform = await startPlatform();
  const miniflare = await miniflareQueue();
  const stop = async (): Promise<void> => {
    for (const child of children) child.kill();
    await miniflare.stop();
    await platform.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await upload(platform, { name: "shared", code: HELLO, isolation: "shared" });
    await upload(platform, { name: "request", code: HELLO, isolation: "request" });
    const targets = {
      plain: toTarget(plain),
      loader: toTarget(warm),
      load: toTarget(load),
      shared: toTarget(platform.port, addressOf(platform, "shared")),
      request: toTarget(platform.port, addressOf(platform, "request")),
      wranglerDev: toTarget(wranglerDev),
      node: toTarget(node),
    };
    await Promise.all(Object.values(targets).map(untilReady));
    return {
      ...targets,
      firstInLoader: async (count) => {
        const requests = freshNames(count).map((name) => requestBytes(`x:${first}`, `/${name}`));
        return { port: first as number, requests };
      },
      firstInMayfly: async (count) => {
        const requests: Buffer[] = [];
        for (const name of freshNames(count)) {
          // Each has code of its own: nothing is at hand because another script has the same.
          const code = `${HELLO}// ${name}\n`;
          await upload(platform, { name, code, isolation: "request" });
          requests.push(requestBytes(addressOf(platform, name)));
        }
        return { port: platform.port, requests };
      },
      queues: {
        mayfly: await mayflyQueue(platform, "queue", undefined),
        mayflyOneByOne: await mayflyQueue(platform, "queue-one-by-one", 1),
        miniflare,
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

const addressOf = ({ port }: Platform, script: string): string => `${script}.dev.localhost:${port}`;

function toTarget(port: number | undefined, host = `localhost:${port}`): Target {
  if (port === undefined) throw new Error("No port");
  return { port, request: requestBytes(host) };
}

let named = 0;
const freshNames = (count: number): string[] =>
  Array.from({ length: count }, () => `first-${named++}`);

async function untilReady({ port, request }: Target): Promise<void> {
  const deadline = Date.now() + READY_WITHIN_MS;
  for (;;) {
    try {
      const connection = await Connection.open(port);
      await connection.request(request);
      return connection.close();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(50);
    }
  }
}
