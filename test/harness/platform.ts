import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openCredentials } from "../../src/host/credentials.ts";
import { readSettings } from "../../src/host/settings.ts";
import { fetchWorker } from "./worker-fetch.ts";

const ROOT = dirname(dirname(import.meta.dirname));
const CLI = join(ROOT, "src/host/cli.ts");
const WRANGLER = join(ROOT, "node_modules/wrangler/bin/wrangler.js");
const READY_WITHIN_MS = 45_000;

/** How a command ended and what it printed. */
export interface CommandResult {
  /** Exit code; null if a signal ended it. */
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface CommandOptions {
  /** Folder it runs in; default: the checkout. */
  cwd?: string;
  /** Standard input; default: empty. */
  input?: string | Uint8Array;
  /** Variables added to the test's own, or taken away by undefined. */
  env?: Record<string, string | undefined>;
}

/** What it takes to call a platform's API. */
export interface ApiAccess {
  /** Address of the API, without a slash at the end. */
  api: string;
  /** Root token. */
  token: string;
  accountId: string;
}

/** A platform started by the real `mayfly start`. */
export interface Platform extends ApiAccess {
  /** `http://localhost:<port>` */
  url: string;
  dataDir: string;
  port: number;
  /** How many executors serve requests. */
  executors: number;
  /** The supervisor. */
  process: ChildProcess;
  /** What the platform has printed until now, on both streams. */
  output(): string;
  /** Runs the real wrangler against this platform. Does not throw when it fails. */
  wrangler(args: string[], options?: CommandOptions): Promise<CommandResult>;
  /** Starts the real wrangler against this platform, for commands that go on until they are ended. */
  startWrangler(args: string[]): ChildProcess;
  /** Runs `mayfly` with this platform's settings. Does not throw when it fails. */
  mayfly(args: string[], options?: CommandOptions): Promise<CommandResult>;
  /** Sends a request to a worker's host, given without port. Follows no redirects. */
  fetchHost(host: string, path?: string, init?: RequestInit): Promise<Response>;
  /** Calls the API with the root token; the path starts behind `/client/v4`. */
  fetchApi(path: string, init?: RequestInit): Promise<Response>;
  /** Ends it as an operator would and removes the data folder if it was made here. */
  stop(): Promise<void>;
  /** Ends it with SIGKILL, keeps the data, and resolves when all its processes are gone. */
  kill(): Promise<void>;
}

export interface PlatformOptions {
  /** Data folder; default: a new one, removed by `stop`. */
  dataDir?: string;
  /** Further settings. */
  env?: Record<string, string>;
  /** Command that runs what follows it, such as a namespace's. */
  within?: string[];
}

/** Starts a platform on a free port and resolves when it is ready. */
export async function startPlatform(options: PlatformOptions = {}): Promise<Platform> {
  const made = options.dataDir ? undefined : mkdtempSync(join(tmpdir(), "mayfly-test-"));
  const dataDir = options.dataDir ?? join(made as string, "data");
  const port = options.env?.["PORT"] ? Number(options.env["PORT"]) : await freePort();
  const env = { PORT: String(port), MAYFLY_DATA: dataDir, ...options.env };

  const [command = process.execPath, ...args] = [
    ...(options.within ?? []),
    process.execPath,
    CLI,
    "start",
  ];
  const child = spawn(command, args, {
    // A group of its own: a Ctrl+C meant for the tests lets them stop it themselves.
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  // Every process of the platform holds the pipes, so they close after the last one.
  const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const removeOnExit = (): void => void child.kill("SIGKILL");
  process.once("exit", removeOnExit);
  void closed.then(() => process.off("exit", removeOnExit));

  const deadline = Date.now() + READY_WITHIN_MS;
  while (!output.includes('"event":"ready"')) {
    if (child.exitCode !== null || Date.now() > deadline) {
      child.kill("SIGKILL");
      await closed;
      throw new Error(`The platform did not start (exit code ${child.exitCode}):\n${output}`);
    }
    await sleep(50);
  }

  const { accountId, token } = openCredentials(readSettings(env));
  const api = `http://localhost:${port}/client/v4`;
  const variables = {
    CLOUDFLARE_API_BASE_URL: api,
    CLOUDFLARE_API_TOKEN: token,
    CLOUDFLARE_ACCOUNT_ID: accountId,
    CI: "1",
    NO_COLOR: "1",
    FORCE_COLOR: "0",
    WRANGLER_SEND_METRICS: "false",
    // Neither the settings nor the logs of whoever runs the tests.
    XDG_CONFIG_HOME: join(dirname(dataDir), "wrangler"),
    WRANGLER_LOG_PATH: join(dirname(dataDir), "wrangler/logs"),
  };
  return {
    url: `http://localhost:${port}`,
    api,
    token,
    accountId,
    dataDir,
    port,
    executors: readSettings(env).executors,
    process: child,
    output: () => output,
    wrangler: (args, options) => runNode([WRANGLER, ...args], options, variables),
    startWrangler: (args) =>
      spawn(process.execPath, [WRANGLER, ...args], {
        cwd: dataDir,
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...process.env, ...variables },
      }),
    mayfly: (args, options) => runNode([CLI, ...args], options, env),
    fetchHost: (host, path = "/", init = {}) => fetchWorker(`http://${host}:${port}${path}`, init),
    fetchApi: (path, init = {}) =>
      fetch(api + path, {
        ...init,
        headers: { authorization: `Bearer ${token}`, ...(init.headers as object) },
      }),
    stop: async () => {
      child.kill("SIGTERM");
      await closed;
      if (made) rmSync(made, { recursive: true, force: true });
    },
    kill: async () => {
      child.kill("SIGKILL");
      await closed;
    },
  };
}

/** Runs a command of this checkout with the Node that runs the tests. */
export function runNode(
  args: string[],
  { cwd = ROOT, input, env }: CommandOptions = {},
  variables: Record<string, string> = {},
): Promise<CommandResult> {
  const child = spawn(process.execPath, args, {
    cwd,
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, ...variables, ...env },
  });
  const result: CommandResult = { code: null, stdout: "", stderr: "" };
  child.stdout.on("data", (chunk: Buffer) => (result.stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (result.stderr += chunk.toString()));
  // A command that reads no input may be gone before all of it is written.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ ...result, code }));
  });
}

/** A port that nobody listens on at the moment. */
export function freePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
