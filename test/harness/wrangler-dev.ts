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
  /** Ends it and removes its data. */
  stop(): Promise<void>;
}

/** Starts the platform with `wrangler dev` on a free port and resolves when it is ready. */
export async function startWranglerDev(): Promise<WranglerDev> {
  const folder = mkdtempSync(join(tmpdir(), "mayfly-dev-"));
  const port = await freePort();
  const env = {
    CI: "1",
    NO_COLOR: "1",
    WRANGLER_SEND_METRICS: "false",
    XDG_CONFIG_HOME: folder,
    WRANGLER_LOG_PATH: join(folder, "logs"),
  };
  const child = spawn(
    process.execPath,
    [WRANGLER, "dev", "--port", String(port), "--inspector-port", "0", "--persist-to", folder],
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
  const { MAYFLY_TOKEN: token = "", MAYFLY_ACCOUNT_ID: accountId = "" } = devVars();
  const url = `http://localhost:${port}`;
  return { url, api: `${url}/client/v4`, token, accountId, stop };
}

/** The settings that `wrangler dev` makes for itself. */
const devVars = (): Record<string, string> =>
  Object.fromEntries(
    readFileSync(join(ROOT, ".dev.vars"), "utf8")
      .split("\n")
      .map((line) => /^(\w+)="(.*)"$/.exec(line)?.slice(1) ?? ["", ""]),
  );
