import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callApi, type Answer } from "./harness/api.ts";
import { wranglerWith } from "./harness/deploy.ts";
import { startPlatform, type CommandResult, type Platform } from "./harness/platform.ts";

const MAIN = join(import.meta.dirname, "workers/name/index.js");
const CODE = 'export default { fetch: () => new Response("theirs") };';

/** Everything that an account can have, by id or name. */
interface Owned {
  accountId: string;
  script: string;
  versionId: string;
  namespaceId: string;
  bucket: string;
  databaseId: string;
  zoneId: string;
  routeId: string;
  domainId: string;
  tokenId: string;
}

let platform: Platform;
/** The default account's belongings; their names are known to the other, who wants them. */
let ours: Owned;
let readToken: string;
let writeToken: string;
/** The account that may not have them. */
let otherId: string;
let otherToken: string;

const root = (method: string, path: string, body?: unknown): Promise<Answer> =>
  callApi(platform, method, path, body);
const other = (method: string, path: string, body?: unknown): Promise<Answer> =>
  callApi(platform, method, path, body, otherToken);
const read = (method: string, path: string, body?: unknown): Promise<Answer> =>
  callApi(platform, method, path, body, readToken);
const write = (method: string, path: string, body?: unknown): Promise<Answer> =>
  callApi(platform, method, path, body, writeToken);
const tokens = (accountId: string): string => `/accounts/${accountId}/tokens`;
const apiText = async (path: string): Promise<string> => (await platform.fetchApi(path)).text();
const textAt = async (host: string): Promise<string> => (await platform.fetchHost(host)).text();

beforeAll(async () => {
  platform = await startPlatform({ env: { MAYFLY_ZONES: "example.com" } });
  const made = await root("POST", "/accounts", { name: "Other", subdomain: "other" });
  otherId = made.result.id;
  otherToken = (await root("POST", tokens(otherId), { name: "other" })).result.value;
  const read = await root("POST", tokens(platform.accountId), { name: "r", access: "read" });
  readToken = read.result.value;
  writeToken = (await root("POST", tokens(platform.accountId), { name: "w" })).result.value;

  const { code, stdout, stderr } = await wranglerWith(
    platform,
    {
      name: "site",
      main: MAIN,
      vars: { NAME: "ours" },
      workers_dev: true,
      kv_namespaces: [{ binding: "KV" }],
      r2_buckets: [{ binding: "BUCKET", bucket_name: "files" }],
      d1_databases: [{ binding: "DB", database_name: "data" }],
      routes: ["example.com/*", { pattern: "own.example.com", custom_domain: true }],
    },
    ["deploy"],
  );
  expect(code, stdout + stderr).toBe(0);
  ours = await belongings(platform.accountId, read.result.id);
  const account = `/accounts/${ours.accountId}`;
  for (const path of [
    `/storage/kv/namespaces/${ours.namespaceId}/values/k`,
    `/r2/buckets/${ours.bucket}/objects/k`,
  ]) {
    const { status } = await platform.fetchApi(account + path, { method: "PUT", body: "private" });
    expect(status).toBe(200);
  }
});
afterAll(() => platform.stop());

/** Runs `wrangler deploy` for a script of that name with other credentials than the root's. */
function deploySite(env: Record<string, string>): Promise<CommandResult> {
  const wrangler: Platform["wrangler"] = (args, options) =>
    platform.wrangler(args, { ...options, env });
  return wranglerWith({ ...platform, wrangler }, { name: "site", main: MAIN }, ["deploy"]);
}

async function belongings(accountId: string, tokenId: string): Promise<Owned> {
  const list = async (path: string): Promise<Answer["result"]> =>
    (await root("GET", `/accounts/${accountId}${path}`)).result;
  const [zone] = (await root("GET", "/zones?name=example.com")).result;
  const [route] = (await root("GET", `/zones/${zone.id}/workers/routes`)).result;
  return {
    accountId,
    script: "site",
    versionId: (await list("/workers/scripts/site/versions")).items[0].id,
    namespaceId: (await list("/storage/kv/namespaces"))[0].id,
    bucket: (await list("/r2/buckets")).buckets[0].name,
    databaseId: (await list("/d1/database"))[0].uuid,
    zoneId: zone.id,
    routeId: route.id,
    domainId: (await list("/workers/domains"))[0].id,
    tokenId,
  };
}

type Call = [method: string, path: string, body?: unknown];

/** Calls of all kinds about the belongings, under the account's path. */
function calls(o: Owned): Call[] {
  const script = `/workers/scripts/${o.script}`;
  const kv = `/storage/kv/namespaces/${o.namespaceId}`;
  const r2 = `/r2/buckets/${o.bucket}`;
  const d1 = `/d1/database/${o.databaseId}`;
  const secret = { name: "S", text: "x", type: "secret_text" };
  const deployment = {
    strategy: "percentage",
    versions: [{ version_id: o.versionId, percentage: 100 }],
  };
  return [
    ["GET", script],
    ["GET", `${script}/settings`],
    ["GET", `${script}/script-settings`],
    ["PATCH", `${script}/script-settings`, { tags: ["x"] }],
    ["GET", `/workers/services/${o.script}`],
    ["GET", `/workers/workers/${o.script}`],
    ["GET", `${script}/versions`],
    ["GET", `${script}/versions/${o.versionId}`],
    ["GET", `${script}/deployments`],
    ["POST", `${script}/deployments`, deployment],
    ["GET", `${script}/secrets`],
    ["PUT", `${script}/secrets`, secret],
    ["DELETE", `${script}/secrets/S`],
    ["PATCH", `${script}/secrets-bulk`, { secrets: { S: secret } }],
    ["PATCH", `/workers/workers/${o.script}/versions/latest`, { env: { S: secret } }],
    ["GET", `${script}/subdomain`],
    ["POST", `${script}/subdomain`, { enabled: false }],
    ["DELETE", `${script}/subdomain`],
    ["GET", `${script}/routes`],
    ["PUT", `${script}/routes`, []],
    ["POST", `${script}/domains/changeset`, []],
    ["PUT", `${script}/domains/records`, { override_scope: true, origins: [] }],
    ["GET", `/workers/domains/${o.domainId}`],
    ["DELETE", `/workers/domains/${o.domainId}`],
    ["GET", `${script}/schedules`],
    ["PUT", `${script}/schedules`, []],
    ["GET", `${script}/references`],
    ["GET", `${script}/tails`],
    ["POST", `${script}/tails`, {}],
    ["DELETE", `${script}/tails/any`],
    ["GET", `/workers/tails/by-consumer/${o.script}`],
    ["GET", kv],
    ["PUT", kv, { title: "stolen" }],
    ["GET", `${kv}/keys`],
    ["GET", `${kv}/values/k`],
    ["PUT", `${kv}/values/k`, "stolen"],
    ["DELETE", `${kv}/values/k`],
    ["PUT", `${kv}/bulk`, [{ key: "k", value: "stolen" }]],
    ["POST", `${kv}/bulk/get`, { keys: ["k"] }],
    ["DELETE", `${kv}/bulk`, ["k"]],
    ["DELETE", kv],
    ["GET", r2],
    ["GET", `${r2}/objects/k`],
    ["PUT", `${r2}/objects/k`, "stolen"],
    ["DELETE", `${r2}/objects/k`],
    ["PUT", `${r2}/cors`, { rules: [] }],
    ["GET", `${r2}/lifecycle`],
    ["DELETE", r2],
    ["GET", d1],
    ["POST", `${d1}/query`, { sql: "CREATE TABLE stolen (a)" }],
    ["POST", `${d1}/raw`, { sql: "SELECT 1" }],
    ["POST", `${d1}/export`, { output_format: "polling", dump_options: {} }],
    ["POST", `${d1}/import`, { action: "init", etag: "0".repeat(32) }],
    ["DELETE", d1],
    ["GET", `/d1/database/data`],
    ["GET", `/tokens/${o.tokenId}`],
    ["DELETE", `/tokens/${o.tokenId}`],
    ["DELETE", `/workers/services/${o.script}?force=true`],
    ["DELETE", `${script}?force=true`],
  ];
}

/** Calls about the zone; they name no account. */
function zoneCalls(o: Owned): Call[] {
  const routes = `/zones/${o.zoneId}/workers/routes`;
  return [
    ["GET", `/zones/${o.zoneId}`],
    ["GET", routes],
    ["GET", `${routes}/${o.routeId}`],
    ["POST", routes, { pattern: "example.com/theirs", script: "site" }],
    ["PUT", `${routes}/${o.routeId}`, { pattern: "example.com/theirs", script: "site" }],
    ["DELETE", `${routes}/${o.routeId}`],
    ["DELETE", `/zones/${o.zoneId}`],
  ];
}

/** Calls about an account as a whole. */
const ACCOUNT_CALLS: Call[] = [
  ["GET", ""],
  ["GET", "/workers/scripts"],
  ["GET", "/workers/subdomain"],
  ["PUT", "/workers/subdomain", { subdomain: "stolen" }],
  ["GET", "/workers/domains"],
  ["GET", "/storage/kv/namespaces"],
  ["POST", "/storage/kv/namespaces", { title: "new" }],
  ["GET", "/r2/buckets"],
  ["POST", "/r2/buckets", { name: "new-bucket" }],
  ["GET", "/d1/database"],
  ["POST", "/d1/database", { name: "new" }],
  ["GET", "/tokens"],
  ["POST", "/tokens", { name: "new" }],
  ["GET", "/mayfly/logs?script=site"],
  ["GET", "/mayfly/usage"],
  ["GET", "/mayfly/usage/storage"],
  ["GET", "/mayfly/usage/prices"],
  ["GET", "/mayfly/budgets"],
  ["PUT", "/mayfly/budgets/theirs", { limit: { invocations: 1 } }],
];

/** All that the calls could have changed, as the root token sees it. */
async function snapshot(): Promise<[path: string, text: string][]> {
  const account = `/accounts/${ours.accountId}`;
  const paths = [
    ...[...ACCOUNT_CALLS, ...calls(ours)]
      .filter(([method]) => method === "GET")
      .map(([, path]) => account + path)
      // A form with a new boundary each time, and what says until when it holds.
      .filter((path) => !path.endsWith("/scripts/site") && !/mayfly\/(logs|usage)/.test(path)),
    `/zones/${ours.zoneId}/workers/routes`,
  ];
  return Promise.all(
    paths.map(async (path): Promise<[string, string]> => [path, await apiText(path)]),
  );
}

/** An upload with the binding. */
function form(binding: object): FormData {
  const data = new FormData();
  const metadata = {
    main_module: "index.js",
    compatibility_date: "2026-07-01",
    bindings: [{ name: "B", ...binding }],
  };
  data.set("metadata", JSON.stringify(metadata));
  data.set("index.js", new File([CODE], "index.js", { type: "application/javascript+module" }));
  return data;
}

/** Uploads a script to the other account. */
const upload = (binding: object): Promise<Response> =>
  fetch(`${platform.api}/accounts/${otherId}/workers/scripts/taker`, {
    method: "PUT",
    headers: { authorization: `Bearer ${otherToken}` },
    body: form(binding),
  });

describe("another account's token", () => {
  it("can do nothing below the account's path", async () => {
    const before = await snapshot();
    for (const [method, path, body] of [...ACCOUNT_CALLS, ...calls(ours)]) {
      const answer = await other(method, `/accounts/${ours.accountId}${path}`, body);
      expect(answer, `${method} ${path}`).toMatchObject({ status: 403, code: 10000 });
    }
    expect(await snapshot()).toEqual(before);
  });

  it("finds nothing of it below its own path", async () => {
    const before = await snapshot();
    for (const [method, path, body] of calls(ours)) {
      // Asks who consumes, which of a name that the account does not have is nobody.
      if (path.includes("/by-consumer/")) continue;
      const { status } = await fetch(`${platform.api}/accounts/${otherId}${path}`, {
        method,
        headers: { authorization: `Bearer ${otherToken}` },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      expect([400, 404], `${method} ${path}: ${status}`).toContain(status);
    }
    expect(await snapshot()).toEqual(before);
    for (const path of ["/workers/scripts", "/workers/domains", "/storage/kv/namespaces"]) {
      expect((await other("GET", `/accounts/${otherId}${path}`)).result).toEqual([]);
    }
    expect((await other("GET", `/accounts/${otherId}/r2/buckets`)).result.buckets).toEqual([]);
    expect((await other("GET", `/accounts/${otherId}/d1/database`)).result).toEqual([]);
    const consumers = `/accounts/${otherId}/workers/tails/by-consumer/${ours.script}`;
    expect((await other("GET", consumers)).result).toEqual([]);
    const logs = `/accounts/${otherId}/mayfly/logs?script=site`;
    expect(await other("GET", logs)).toMatchObject({ status: 404 });
  });

  it("sees neither the account, nor its zones", async () => {
    const before = await snapshot();
    for (const [method, path, body] of zoneCalls(ours)) {
      expect(await other(method, path, body), `${method} ${path}`).toMatchObject({ status: 404 });
    }
    expect(await snapshot()).toEqual(before);
    expect((await other("GET", "/accounts")).result).toMatchObject([{ id: otherId }]);
    expect((await other("GET", "/memberships")).result).toMatchObject([
      { account: { id: otherId } },
    ]);
    for (const query of [
      "",
      "?name=example.com",
      "?name=a.localhost",
      `?account.id=${ours.accountId}`,
    ]) {
      expect((await other("GET", `/zones${query}`)).result, query).toEqual([]);
    }
  });

  it("cannot be used to reach it by writing its id in another way", async () => {
    const id = ours.accountId;
    const encoded = `%${id.charCodeAt(0).toString(16)}${id.slice(1)}`;
    for (const path of [
      `/accounts/${encoded}/workers/scripts`,
      `/accounts/${encoded.replace("%", "%25")}/workers/scripts`,
      `/%61ccounts/${id}/workers/scripts`,
      `//accounts/${id}/workers/scripts`,
      `/accounts/${otherId}/../${id}/workers/scripts`,
      `/accounts/${otherId}%2f..%2f${id}/workers/scripts`,
      `/accounts//${id}/workers/scripts`,
      `/Accounts/${id}/workers/scripts`,
      `/accounts/${id.toUpperCase()}/workers/scripts`,
    ]) {
      expect((await other("GET", path)).status, path).toBeGreaterThanOrEqual(403);
    }
  });

  it("cannot bind to what the account has", async () => {
    for (const binding of [
      { type: "kv_namespace", namespace_id: ours.namespaceId },
      { type: "r2_bucket", bucket_name: ours.bucket },
      { type: "d1", id: ours.databaseId },
      { type: "d1", id: "data" },
      { type: "service", service: ours.script },
    ]) {
      expect((await upload(binding)).status, JSON.stringify(binding)).toBe(400);
    }
    expect((await upload({ type: "plain_text", text: "fine" })).status).toBe(200);
  });

  it("cannot take over its hosts", async () => {
    const script = `/accounts/${otherId}/workers/scripts/taker`;
    await other("POST", `${script}/subdomain`, { enabled: true });
    for (const pattern of ["example.com/*", "site.dev.localhost/*", "*.localhost/*"]) {
      const answer = await other("PUT", `${script}/routes`, [{ pattern }]);
      expect(answer, pattern).toMatchObject({ code: 10083 });
    }
    const foreign = [{ pattern: "*/*", zone_id: ours.zoneId }];
    expect(await other("PUT", `${script}/routes`, foreign)).toMatchObject({ code: 10083 });
    for (const hostname of ["own.example.com", "site.dev.localhost", "taker.other.localhost"]) {
      const answer = await other("PUT", `${script}/domains/records`, {
        override_existing_origin: true,
        origins: [{ hostname }],
      });
      expect(answer, hostname).toMatchObject({ code: 10083 });
    }
    for (const name of ["example.com", "a.example.com", "x.localhost", "dev.localhost"]) {
      expect((await other("POST", "/zones", { name })).status, name).toBe(409);
    }
    const inOurs = { name: "fresh.net", account: { id: ours.accountId } };
    expect(await other("POST", "/zones", inOurs)).toMatchObject({ status: 403 });
    // Around a zone of the account, it would have the hosts that the zone has not.
    await root("POST", "/zones", { name: "eu.example.org", account: { id: ours.accountId } });
    expect(await other("POST", "/zones", { name: "example.org" })).toMatchObject({ status: 409 });
  });

  it("keeps its own addresses, whatever the account of the domain does", async () => {
    expect(await textAt("taker.other.localhost")).toBe("theirs");
    const [zone] = (await root("GET", "/zones?name=x.localhost")).result;
    const routes = `/zones/${zone.id}/workers/routes`;
    const wildcard = { pattern: "*.localhost/*", script: "site" };
    const made = await root("POST", routes, wildcard);
    expect(await textAt("free.localhost")).toMatch(/^ours /);
    expect(await textAt("taker.other.localhost")).toBe("theirs");
    await root("DELETE", `${routes}/${made.result.id}`);

    for (const pattern of ["taker.other.localhost/*", "*.other.localhost/*"]) {
      expect(await root("POST", routes, { pattern, script: "site" })).toMatchObject({
        code: 10038,
      });
    }
    const origins = [{ hostname: "taker.other.localhost" }];
    const records = `/accounts/${ours.accountId}/workers/scripts/site/domains/records`;
    expect(await root("PUT", records, { origins })).toMatchObject({ code: 10038 });
    const inside = { name: "other.localhost", account: { id: ours.accountId } };
    expect((await root("POST", "/zones", inside)).status).toBe(409);
    // And a new account does not get a subdomain where somebody is already.
    await root("PUT", records, { origins: [{ hostname: "a.taken.localhost" }] });
    const taken = { name: "Late", subdomain: "taken" };
    expect(await root("POST", "/accounts", taken)).toMatchObject({ status: 409, code: 10031 });
  });

  it("may call its scripts as the other's are called", async () => {
    const { code, stdout, stderr } = await deploySite({
      CLOUDFLARE_API_TOKEN: otherToken,
      CLOUDFLARE_ACCOUNT_ID: otherId,
    });
    expect(code, stdout + stderr).toBe(0);
    expect(await (await platform.fetchHost("site.other.localhost")).text()).not.toContain("ours");
    expect(await (await platform.fetchHost("site.dev.localhost")).text()).toContain("ours");
    await other("DELETE", `/accounts/${otherId}/workers/scripts/site`);
    expect((await platform.fetchHost("site.other.localhost")).status).toBe(404);
    expect((await platform.fetchHost("site.dev.localhost")).status).toBe(200);
  });
});

describe("a read token", () => {
  it("changes nothing", async () => {
    const before = await snapshot();
    const account = [...ACCOUNT_CALLS, ...calls(ours)].map(([method, path, body]): Call => [
      method,
      `/accounts/${ours.accountId}${path}`,
      body,
    ]);
    for (const [method, path, body] of [...account, ...zoneCalls(ours)]) {
      // To look on is to read, though it takes a session.
      if (method === "GET" || path.endsWith("/bulk/get") || path.includes("/tails")) continue;
      expect(await read(method, path, body), `${method} ${path}`).toMatchObject({
        status: 403,
        code: 10000,
      });
    }
    expect(await read("POST", "/zones", { name: "fresh.net" })).toMatchObject({ status: 403 });
    expect(await snapshot()).toEqual(before);
  });

  it("reads", async () => {
    const account = `/accounts/${ours.accountId}`;
    expect((await read("GET", `${account}/workers/scripts/site/versions`)).status).toBe(200);
    expect((await read("GET", `/zones/${ours.zoneId}/workers/routes`)).result).toHaveLength(1);
    const values = `${account}/storage/kv/namespaces/${ours.namespaceId}/bulk/get`;
    expect((await read("POST", values, { keys: ["k"] })).status).toBe(200);
  });

  it("fails to deploy", async () => {
    const { code, stdout, stderr } = await deploySite({ CLOUDFLARE_API_TOKEN: readToken });
    expect(code).not.toBe(0);
    expect(stdout + stderr).toContain("the token can only read");
  });
});

describe("an account's own token", () => {
  it("makes zones and routes, but no accounts", async () => {
    const zone = await write("POST", "/zones", { name: "mine.example" });
    expect(zone.result).toMatchObject({ name: "mine.example", account: { id: ours.accountId } });
    expect((await write("DELETE", `/zones/${zone.result.id}`)).status).toBe(200);
    const account = { name: "New", subdomain: "new" };
    expect(await write("POST", "/accounts", account)).toMatchObject({ status: 403 });
  });
});

describe("the API", () => {
  it("answers nobody without a token", async () => {
    const account = [...ACCOUNT_CALLS, ...calls(ours)].map(([method, path, body]): Call => [
      method,
      `/accounts/${ours.accountId}${path}`,
      body,
    ]);
    const all: Call[] = [
      ...account,
      ...zoneCalls(ours),
      ["GET", "/user"],
      ["GET", "/user/tokens/verify"],
      ["GET", "/accounts"],
      ["POST", "/accounts", { name: "New", subdomain: "new" }],
      ["GET", "/memberships"],
      ["GET", "/zones"],
      ["POST", "/graphql", {}],
      ["GET", "/no/such/path"],
    ];
    for (const [method, path, body] of all) {
      expect(await callApi(platform, method, path, body, ""), `${method} ${path}`).toMatchObject({
        status: 401,
        code: 9106,
      });
      expect(await callApi(platform, method, path, body, "wrong"), path).toMatchObject({
        status: 401,
        code: 10000,
      });
    }
  });

  it("is not to be reached through a worker's host, nor an unknown one", async () => {
    const headers = { authorization: `Bearer ${platform.token}` };
    const ask = (host: string, path: string): Promise<Response> =>
      platform.fetchHost(host, path, { headers });
    for (const path of ["/client/v4/user", "/_mayfly/metrics", "/_mayfly/health"]) {
      for (const host of ["site.dev.localhost", "site.dev.workers.dev", "example.com"]) {
        expect(await (await ask(host, path)).text(), host).toMatch(/^ours /);
      }
      for (const host of ["api.localhost", "localhost.example.net", "dev.localhost", "evil.net"]) {
        expect((await ask(host, path)).status, host).toBe(404);
      }
    }
    expect((await ask("localhost", "/client/v4/user")).status).toBe(200);
    expect((await ask("127.0.0.1", "/client/v4/user")).status).toBe(200);
  });

  it("ignores an account that does not exist", async () => {
    expect(await root("GET", "/accounts/nobody/workers/scripts")).toMatchObject({ code: 7003 });
    expect(await root("POST", "/accounts/nobody/r2/buckets", { name: "bucket" })).toMatchObject({
      status: 404,
      code: 7003,
    });
    const zone = { name: "fresh.net", account: { id: "nobody" } };
    expect(await root("POST", "/zones", zone)).toMatchObject({ status: 400 });
  });
});
