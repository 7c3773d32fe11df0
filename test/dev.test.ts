import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort, runNode } from "./harness/platform.ts";
import { until } from "./harness/processes.ts";

const ROOT = dirname(import.meta.dirname);
const WRANGLER = join(ROOT, "node_modules/wrangler/bin/wrangler.js");

let folder: string;
let env: Record<string, string>;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "mayfly-dev-"));
  env = {
    CI: "1",
    NO_COLOR: "1",
    WRANGLER_SEND_METRICS: "false",
    XDG_CONFIG_HOME: folder,
    WRANGLER_LOG_PATH: join(folder, "logs"),
  };
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("wrangler deploy --dry-run accepts the platform", async () => {
  const args = [WRANGLER, "deploy", "--dry-run", "--outdir", join(folder, "out")];
  const { code, stdout, stderr } = await runNode(args, { env });
  expect(stderr).not.toContain("WARNING");
  expect(stdout).toContain("--dry-run: exiting now");
  expect(code).toBe(0);
});

const devVars = (): Record<string, string> =>
  Object.fromEntries(
    readFileSync(join(ROOT, ".dev.vars"), "utf8")
      .split("\n")
      .map((line) => /^(\w+)="(.*)"$/.exec(line)?.slice(1) ?? ["", ""]),
  );

describe("wrangler dev", () => {
  let port: number;
  let child: ChildProcess;
  let output = "";
  beforeAll(async () => {
    port = await freePort();
    child = spawn(
      process.execPath,
      [WRANGLER, "dev", "--port", String(port), "--inspector-port", "0", "--persist-to", folder],
      { cwd: ROOT, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] },
    );
    child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
    await until(() => output.includes("Ready on"), 50_000);
  });
  afterAll(async () => {
    const closed = new Promise((resolve) => child.once("close", resolve));
    child.kill("SIGTERM");
    await closed;
  });

  test("makes the settings it needs, for their owner only", () => {
    expect(existsSync(join(ROOT, ".dev.vars"))).toBe(true);
    expect(statSync(join(ROOT, ".dev.vars")).mode & 0o777).toBe(0o600);
  });

  test("runs the platform", async () => {
    const response = await fetch(`http://localhost:${port}/_mayfly/ready`);
    expect(response.status).toBe(200);
  });

  test("answers wrangler's whoami", async () => {
    const { MAYFLY_TOKEN, MAYFLY_ACCOUNT_ID } = devVars();
    const { code, stdout } = await runNode([WRANGLER, "whoami"], {
      cwd: folder,
      env: {
        ...env,
        CLOUDFLARE_API_BASE_URL: `http://localhost:${port}/client/v4`,
        CLOUDFLARE_API_TOKEN: MAYFLY_TOKEN,
        CLOUDFLARE_ACCOUNT_ID: MAYFLY_ACCOUNT_ID,
      },
    });
    expect(stdout).toContain(MAYFLY_ACCOUNT_ID);
    expect(code).toBe(0);
  });
});
