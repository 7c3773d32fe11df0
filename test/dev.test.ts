import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runNode } from "./harness/platform.ts";
import { startWranglerDev, type WranglerDev } from "./harness/wrangler-dev.ts";

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

describe("wrangler dev", () => {
  let dev: WranglerDev;
  beforeAll(async () => {
    dev = await startWranglerDev();
  });
  afterAll(() => dev?.stop());

  test("makes the settings it needs, for their owner only", () => {
    expect(existsSync(join(ROOT, ".dev.vars"))).toBe(true);
    expect(statSync(join(ROOT, ".dev.vars")).mode & 0o777).toBe(0o600);
  });

  test("runs the platform", async () => {
    const response = await fetch(`${dev.url}/_mayfly/ready`);
    expect(response.status).toBe(200);
  });

  test("answers wrangler's whoami", async () => {
    const { code, stdout } = await runNode([WRANGLER, "whoami"], {
      cwd: folder,
      env: {
        ...env,
        CLOUDFLARE_API_BASE_URL: dev.api,
        CLOUDFLARE_API_TOKEN: dev.token,
        CLOUDFLARE_ACCOUNT_ID: dev.accountId,
      },
    });
    expect(stdout).toContain(dev.accountId);
    expect(code).toBe(0);
  });
});
