import { afterAll, beforeAll, expect, it } from "vitest";
import { callApi } from "./harness/api.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";

let platform: Platform;
let accountToken: string;
let otherAccountId: string;

beforeAll(async () => {
  platform = await startPlatform();
  const other = await callApi(platform, "POST", "/accounts", { name: "Other", subdomain: "other" });
  otherAccountId = other.result.id;
  const tokens = `/accounts/${platform.accountId}/tokens`;
  accountToken = (await callApi(platform, "POST", tokens, { name: "ci" })).result.value;
});
afterAll(() => platform.stop());

it("shows the root token's user and all accounts", async () => {
  const { code, stdout, stderr } = await platform.wrangler(["whoami"]);
  expect(code, stderr).toBe(0);
  expect(stdout).toContain("User API Token");
  expect(stdout).toContain("root@localhost");
  expect(stdout).toContain(platform.accountId);
  expect(stdout).toContain(otherAccountId);
});

it("shows an account's token as such, with its own account alone", async () => {
  const env = { CLOUDFLARE_API_TOKEN: accountToken };
  const { code, stdout, stderr } = await platform.wrangler(["whoami"], { env });
  expect(code, stderr).toBe(0);
  expect(stdout).toContain("Account API Token");
  expect(stdout).toContain(platform.accountId);
  expect(stdout).not.toContain(otherAccountId);
});

it("shows the role that a token has in an account", async () => {
  const args = ["whoami", "--account", platform.accountId];
  const env = { CLOUDFLARE_API_TOKEN: accountToken };
  const { code, stdout, stderr } = await platform.wrangler(args, { env });
  expect(code, stderr).toBe(0);
  expect(stdout).toContain("Administrator");
});

it("chooses the only account by itself", async () => {
  const { code, stdout, stderr } = await platform.wrangler(["kv", "namespace", "list"], {
    // wrangler remembers its choice in the folder's cache.
    cwd: platform.dataDir,
    env: { CLOUDFLARE_API_TOKEN: accountToken, CLOUDFLARE_ACCOUNT_ID: undefined },
  });
  expect(code, stderr).toBe(0);
  expect(JSON.parse(stdout)).toEqual([]);
});

it("refuses an unknown token", async () => {
  const env = { CLOUDFLARE_API_TOKEN: "mf_unknown" };
  const { code, stdout, stderr } = await platform.wrangler(["whoami"], { env });
  expect(code).not.toBe(0);
  expect(stdout + stderr).toContain("10000");
});

it("lists accounts by page and by name", async () => {
  const first = await callApi(platform, "GET", "/accounts?page=1&per_page=1");
  const second = await callApi(platform, "GET", "/accounts?page=2&per_page=1");
  expect([first.result[0].id, second.result[0].id]).toEqual([platform.accountId, otherAccountId]);
  expect((await callApi(platform, "GET", "/accounts?page=3&per_page=1")).result).toEqual([]);
  expect((await callApi(platform, "GET", "/accounts?name=Other")).result).toHaveLength(1);
  expect(await callApi(platform, "GET", "/accounts?page=0")).toMatchObject({ status: 400 });
  expect(await callApi(platform, "GET", "/memberships?page=1")).toMatchObject({
    result: [{ account: { id: platform.accountId } }, { account: { id: otherAccountId } }],
  });
});
