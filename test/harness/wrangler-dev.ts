import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { freePort, type ApiAccess } from "./platform.ts";
import { until } from "./processes.ts";

const ROOT = dirname(dirname(import.meta.dirname));
const WRANGLER = join(ROOT, "node_modules/wrangler/bin/wrangler.js");

/** A platform run by the real `wrangler dev`. */
export interface WranglerDev extends ApiAccess {
  /** `http://localhost:<port>` */
  url: string;
  /** What it has printed until now, on both streams. */
  output(): string;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
}

/**
 * Starts the platform with `wrangler dev` on a free port and resolves when it is ready. `configs`: in
 * place of the checkout's own, the first of them gets the requests; `varsFile` is the platform's.
 */
export async function startWranglerDev({
  configs = [] as string[],
  varsFile = join(ROOT, ".dev.vars"),
} = {}): Promise<WranglerDev> {
  const folder = mkdtempSync(join(tmpdir(), "mayfly-dev-"));
  const port = await freePort();
  const env = {
    CI: "1",
    NO_COLOR: "1",
    WRANGLER_SEND_METRICS: "false",
    XDG_CONFIG_HOME: folder,
    WRANGLER_LOG_PATH: join(folder, "logs"),
  };
  const options = ["--port", String(port), "--inspector-port", "0", "--persist-to", folder];
  const child = spawn(
    process.execPath,
    [WRANGLER, "dev", ...configs.flatMap((config) => ["-c", config]), ...options],
    { cwd: ROOT, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] },
  );
  const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    await closed;
    rmSync(folder, { recursive: true, force: true });
  };
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  try {
    await until(() => output.includes("Ready on"), 50_000);
  } catch (error) {
    await stop();
    throw new Error(`wrangler dev did not start:\n${output}`, { cause: error });
  }
  const { MAYFLY_TOKEN: token = "", MAYFLY_ACCOUNT_ID: accountId = "" } = readVars(varsFile);
  const url = `http://localhost:${port}`;
  return { url, api: `${url}/client/v4`, token, accountId, output: () => output, stop };
}

const readVars = (file: string): Record<string, string> =>
  Object.fromEntries(
    readFileSync(file, "utf8")
      .split("\n")
      .map((line) => /^(\w+)="(.*)"$/.exec(line)?.slice(1) ?? ["", ""]),
  );
