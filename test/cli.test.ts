import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runNode, startPlatform, type CommandResult, type Platform } from "./harness/platform.ts";

const ROOT = dirname(import.meta.dirname);
const BIN = join(ROOT, "bin/mayfly.js");

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "mayfly-cli-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const mayfly = (args: string[], env: Record<string, string> = {}): Promise<CommandResult> =>
  runNode([BIN, ...args], { cwd: folder, env: { MAYFLY_DATA: join(folder, "data"), ...env } });

test("help lists the commands", async () => {
  const { code, stdout } = await mayfly(["help"]);
  expect(code).toBe(0);
  for (const command of ["start", "env", "token create", "token list", "token revoke"]) {
    expect(stdout).toContain(command);
  }
});

test("--version prints the package's version", async () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    version: string;
  };
  expect((await mayfly(["--version"])).stdout).toBe(`${version}\n`);
});

test.each([
  [[], "No command given"],
  [["deploy"], 'Unknown command "deploy"'],
  [["start", "now"], "Usage: mayfly start"],
  [["start", "--port", "80"], "--port"],
  [["token"], "must be create, list or revoke"],
  [["token", "create"], "Usage: mayfly token create <name>"],
  [["token", "create", "ci", "--access", "all"], 'got "all", must be read or write'],
])("%j is refused with exit code 2", async (args, message) => {
  const { code, stderr } = await mayfly(args);
  expect(stderr).toContain(message);
  expect(code).toBe(2);
});

test("env prints what a shell can take in, even if the platform is down", async () => {
  const { code, stdout } = await mayfly(["env"], { PORT: "9123", MAYFLY_TOKEN: `it's"$HOME"` });
  expect(code).toBe(0);
  const print = `${stdout}\nprintf '%s %s %s' "$CLOUDFLARE_API_BASE_URL" "$CLOUDFLARE_API_TOKEN" "$CLOUDFLARE_ACCOUNT_ID"`;
  const seen = execFileSync("/bin/sh", ["-c", print], { encoding: "utf8" });
  expect(seen).toMatch(/^http:\/\/localhost:9123\/client\/v4 it's"\$HOME" [0-9a-f]{32}$/);
});

test("env makes the credentials once, for their owner only", async () => {
  const first = await mayfly(["env"]);
  expect((await mayfly(["env"])).stdout).toBe(first.stdout);
  expect(statSync(join(folder, "data/credentials.json")).mode & 0o777).toBe(0o600);
});

test("token says what to do when nobody answers", async () => {
  const { code, stderr } = await mayfly(["token", "list"], { PORT: "1" });
  expect(stderr).toContain("is mayfly start running");
  expect(code).toBe(1);
});

describe("tokens", () => {
  let platform: Platform;
  beforeAll(async () => {
    platform = await startPlatform();
  });
  afterAll(() => platform.stop());

  const create = async (...args: string[]): Promise<{ id: string; value: string }> => {
    const { code, stdout, stderr } = await platform.mayfly(["token", "create", ...args]);
    expect(code).toBe(0);
    return { id: /^Token (\w+)/.exec(stderr)?.[1] ?? "", value: stdout.trim() };
  };
  const call = (path: string, token: string, method = "GET", body?: object): Promise<Response> =>
    fetch(`${platform.api}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}` },
      ...(body && { body: JSON.stringify(body) }),
    });
  const list = async (): Promise<string> => (await platform.mayfly(["token", "list"])).stdout;

  test("env finds the port that the platform was started on", async () => {
    const { stdout } = await platform.mayfly(["env"], { env: { PORT: undefined } });
    expect(stdout).toContain(`CLOUDFLARE_API_BASE_URL='${platform.api}'`);
  });

  test("a new token works until it is revoked", async () => {
    const { id, value } = await create("ci");
    expect(value).toMatch(/^[0-9a-f]{64}$/);
    expect(await list()).toMatch(new RegExp(`^${id}  write  .*Z  ci$`, "m"));

    const { code, stdout } = await platform.wrangler(["whoami"], {
      env: { CLOUDFLARE_API_TOKEN: value },
    });
    expect(stdout).toContain(platform.accountId);
    expect(code).toBe(0);

    expect((await platform.mayfly(["token", "revoke", id])).code).toBe(0);
    expect((await call(`/accounts/${platform.accountId}`, value)).status).toBe(401);
    expect(await list()).not.toContain(id);
    const again = await platform.mayfly(["token", "revoke", id]);
    expect(again.stderr).toContain(`there is no token "${id}"`);
    expect(again.code).toBe(1);
  });

  test("a token that may read cannot change anything or see other tokens", async () => {
    const { id, value } = await create("dashboard", "--access", "read");
    const account = `/accounts/${platform.accountId}`;
    expect((await call(account, value)).status).toBe(200);
    expect((await call(`${account}/tokens`, value)).status).toBe(403);
    expect((await call(`${account}/tokens`, value, "POST", { name: "more" })).status).toBe(403);
    expect((await call(`${account}/tokens/${id}`, value, "DELETE")).status).toBe(403);
    const verified = await call(`${account}/tokens/verify`, value);
    expect(await verified.json()).toMatchObject({ result: { id, status: "active" } });
  });

  test("a token is worth nothing in another account", async () => {
    const body = { name: "Other", subdomain: "other" };
    const made = await call("/accounts", platform.token, "POST", body);
    const { result } = (await made.json()) as { result: { id: string } };
    const { id, value } = await create("here");
    expect((await call(`/accounts/${result.id}/tokens`, value)).status).toBe(403);
    const elsewhere = `/accounts/${result.id}/tokens/${id}`;
    expect((await call(elsewhere, platform.token)).status).toBe(404);
    expect((await call(elsewhere, platform.token, "DELETE")).status).toBe(404);
  });

  test("the value is shown once and kept only as a hash", async () => {
    const { id, value } = await create("secret");
    const token = await call(`/accounts/${platform.accountId}/tokens/${id}`, platform.token);
    const { result } = (await token.json()) as { result: Record<string, unknown> };
    expect(Object.keys(result)).toEqual(["id", "name", "access", "status", "issued_on"]);
    const grep = spawnSync("grep", ["-rl", value, platform.dataDir], { encoding: "utf8" });
    // Exit code 1: searched, and found nothing.
    expect(grep).toMatchObject({ status: 1, stdout: "" });
  });

  test.each([
    [{ name: "" }, "name"],
    [{ name: "x", access: "admin" }, "access"],
    [{ name: "x", policies: [] }, "policies"],
  ])("%j is refused, naming the field", async (body, field) => {
    const path = `/accounts/${platform.accountId}/tokens`;
    const response = await call(path, platform.token, "POST", body);
    expect(response.status).toBe(400);
    const { errors } = (await response.json()) as { errors: { message: string }[] };
    expect(errors[0]?.message).toMatch(new RegExp(`^${field}:`));
  });
});
