import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { callApi, type Answer } from "./harness/api.ts";
import { wranglerWith, type Config } from "./harness/deploy.ts";
import { startPlatform, type CommandResult, type Platform } from "./harness/platform.ts";

const MAIN = join(import.meta.dirname, "workers/name/index.js");
const DOMAIN = "doomed.example.com";

let platform: Platform;

beforeAll(async () => {
  platform = await startPlatform({ env: { MAYFLY_ZONES: "example.com" } });
});
afterAll(() => platform.stop());

beforeEach(async () => {
  await deploy({
    name: "doomed",
    vars: { NAME: "doomed" },
    workers_dev: true,
    routes: ["example.com/doomed*", { pattern: DOMAIN, custom_domain: true }],
  });
});

async function deploy(config: Omit<Config, "main">): Promise<void> {
  const complete = { ...config, main: MAIN } as Config;
  const { code, stdout, stderr } = await wranglerWith(platform, complete, ["deploy"]);
  expect(code, stdout + stderr).toBe(0);
}

const api = (method: string, path: string, body?: unknown): Promise<Answer> =>
  callApi(platform, method, `/accounts/${platform.accountId}${path}`, body);
const status = async (host: string, path: string): Promise<number> =>
  (await platform.fetchHost(host, path)).status;
const remove = (...args: string[]): Promise<CommandResult> =>
  platform.wrangler(["delete", "--name", ...args], { cwd: platform.dataDir });

it("wrangler delete removes a script with its addresses, routes and custom domains", async () => {
  expect(await status("doomed.dev.localhost", "/")).toBe(200);
  expect(await status("example.com", "/doomed")).toBe(200);
  expect(await status(DOMAIN, "/")).toBe(200);

  const { code, stdout, stderr } = await remove("doomed");
  expect(code, stderr).toBe(0);
  expect(stdout).toContain("Successfully deleted doomed");
  expect(await status("doomed.dev.localhost", "/")).toBe(404);
  expect(await status("example.com", "/doomed")).toBe(404);
  expect(await status(DOMAIN, "/")).toBe(404);
  expect(await api("GET", "/workers/scripts/doomed/deployments")).toMatchObject({ code: 10007 });
  expect((await api("GET", "/workers/domains")).result).toEqual([]);
});

it("a deleted script's name may be used again, and nothing is left of the old one", async () => {
  const secret = { name: "OLD", text: "secret", type: "secret_text" };
  expect(await api("PUT", "/workers/scripts/doomed/secrets", secret)).toMatchObject({
    status: 200,
  });
  expect((await remove("doomed", "--force")).code).toBe(0);
  await deploy({ name: "doomed", vars: { NAME: "again" } });

  const response = await platform.fetchHost("doomed.dev.localhost");
  expect(await response.text()).toMatch(/^again /);
  expect((await api("GET", "/workers/scripts/doomed/secrets")).result).toEqual([]);
  expect((await api("GET", "/workers/scripts/doomed/versions")).result.items).toHaveLength(1);
  expect(await status("example.com", "/doomed")).toBe(404);
});

it("a script that another is bound to is deleted only by force", async () => {
  await deploy({ name: "caller", services: [{ binding: "DOOMED", service: "doomed" }] });
  const { result } = await api("GET", "/workers/scripts/doomed/references");
  expect(result.services.incoming).toEqual([{ service: "caller", environment: "production" }]);

  for (const kind of ["services", "scripts"]) {
    expect(await api("DELETE", `/workers/${kind}/doomed?force=false`)).toMatchObject({
      status: 400,
      code: 10064,
      message: expect.stringContaining("caller"),
    });
  }
  expect(await status("doomed.dev.localhost", "/")).toBe(200);

  // Without a terminal wrangler warns, and takes its own question for answered with yes.
  const { code, stdout, stderr } = await remove("doomed");
  expect(code, stderr).toBe(0);
  expect(stdout).toContain("Worker caller (production) uses this Worker as a Service Binding");
  expect(await status("doomed.dev.localhost", "/")).toBe(404);
  expect(await status("caller.dev.localhost", "/")).toBe(200);

  await deploy({ name: "doomed", vars: { NAME: "back" } });
  expect((await remove("caller")).code).toBe(0);
  expect(await api("DELETE", "/workers/scripts/doomed")).toMatchObject({ status: 200 });
});

it("a script bound to itself does not need force", async () => {
  await deploy({ name: "narcissus", services: [{ binding: "SELF", service: "narcissus" }] });
  expect(await api("DELETE", "/workers/services/narcissus")).toMatchObject({ status: 200 });
});

it("an unknown script has Cloudflare's codes", async () => {
  expect(await api("DELETE", "/workers/services/nobody?force=true")).toMatchObject({
    status: 404,
    code: 10090,
  });
  expect(await api("DELETE", "/workers/scripts/nobody")).toMatchObject({
    status: 404,
    code: 10007,
  });
  expect(await api("GET", "/workers/scripts/nobody/references")).toMatchObject({ code: 10007 });
  const { code, stdout, stderr } = await remove("nobody");
  expect(code).not.toBe(0);
  expect(stdout + stderr).toContain("10007");
});
