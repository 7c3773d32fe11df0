import { readFileSync } from "node:fs";
import { createServer, type AddressInfo, type Server } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { callApi } from "./harness/api.ts";
import { sendForm } from "./harness/form.ts";
import { startPlatform, type ApiAccess, type Platform } from "./harness/platform.ts";
import { pidOf, residentMiB, until } from "./harness/processes.ts";
import { upload } from "./harness/upload.ts";

const ATTACKER = readFileSync(join(import.meta.dirname, "workers/attacker/index.js"), "utf8");
const SECRET = "the victim's secret";
const COMPATIBILITY = { compatibility_date: "2026-09-01", compatibility_flags: ["nodejs_compat"] };

/** Ids and names of what an account has. */
interface Belongings {
  namespaceId: string;
  bucket: string;
  databaseId: string;
}

let platform: Platform;
let attacker: ApiAccess;
let victims: Belongings;
let bystander: Server;
/** What somebody who is not the platform got at this machine's loopback. */
let bystanderCalls = 0;

beforeAll(async () => {
  bystander = createServer((socket) => {
    bystanderCalls++;
    socket.on("error", () => socket.destroy()).end("HTTP/1.0 200 OK\r\n\r\n");
  });
  await new Promise<void>((resolve) => bystander.listen(0, "127.0.0.1", resolve));
  platform = await startPlatform({ env: { MAYFLY_EXECUTORS: "1" } });
  const account = { name: "Attacker", subdomain: "attacker" };
  const { result } = await callApi(platform, "POST", "/accounts", account);
  attacker = { ...platform, accountId: result.id };

  victims = await makeBelongings(platform, "victim");
  await fill(platform, victims);
  const bindings = [{ type: "secret_text", name: "SECRET", text: SECRET }, ...bind(victims)];
  const code = ATTACKER;
  await upload(platform, {
    name: "victim",
    code,
    isolation: "shared",
    metadata: { bindings, ...COMPATIBILITY },
  });

  const own = await makeBelongings(attacker, "own");
  const self = { type: "service", name: "SELF", service: "attacker" };
  for (const isolation of ["request", "shared"] as const) {
    const name = isolation === "request" ? "attacker" : "shared-attacker";
    // A service must be there to be bound.
    await upload(attacker, { name, code, isolation, metadata: COMPATIBILITY });
    const metadata = { bindings: [self, ...bind(own)], ...COMPATIBILITY, mayfly: { isolation } };
    await upload(attacker, { name, code, isolation, metadata });
  }
});
afterAll(async () => {
  await platform?.stop();
  bystander.close();
});

async function makeBelongings(account: ApiAccess, bucket: string): Promise<Belongings> {
  const make = async (
    method: string,
    path: string,
    body: object,
  ): Promise<Record<string, string>> =>
    (await callApi(account, method, `/accounts/${account.accountId}${path}`, body)).result;
  const { id = "" } = await make("POST", "/storage/kv/namespaces", { title: "data" });
  const { uuid = "" } = await make("POST", "/d1/database", { name: "data" });
  await make("POST", "/r2/buckets", { name: bucket });
  return { namespaceId: id, bucket, databaseId: uuid };
}

async function fill(
  { accountId }: ApiAccess,
  { namespaceId, bucket, databaseId }: Belongings,
): Promise<void> {
  const put = (path: string): Promise<Response> =>
    platform.fetchApi(`/accounts/${accountId}${path}`, { method: "PUT", body: SECRET });
  await put(`/storage/kv/namespaces/${namespaceId}/values/key`);
  await put(`/r2/buckets/${bucket}/objects/key`);
  const sql = `CREATE TABLE secrets AS SELECT '${SECRET.replaceAll("'", "''")}' AS secret`;
  await callApi(platform, "POST", `/accounts/${accountId}/d1/database/${databaseId}/query`, {
    sql,
  });
}

const bind = ({ namespaceId, bucket, databaseId }: Belongings): object[] => [
  { type: "kv_namespace", name: "KV", namespace_id: namespaceId },
  { type: "r2_bucket", name: "BUCKET", bucket_name: bucket },
  { type: "d1", name: "DB", id: databaseId },
];

interface Outcome {
  result?: unknown;
  error?: string;
}

async function attempt(
  name: string,
  value?: unknown,
  host = "attacker.attacker",
): Promise<Outcome> {
  const response = await platform.fetchHost(`${host}.localhost`, "/", {
    method: "POST",
    body: JSON.stringify({ name, value }),
  });
  const text = await response.text();
  if (response.status !== 200) return { error: `${response.status} ${text}` };
  return JSON.parse(text) as Outcome;
}

/** Keys that could lead out of a namespace or bucket into another. */
const climb = (name: string): string[] => [
  `../${name}/key`,
  `../../${platform.accountId}/${name}/key`,
  `/${platform.accountId}/${name}/key`,
  `${platform.accountId}/${name}/key`,
  `${name}/key`,
  `\u0000${name}/key`,
];

describe("A worker sees of the machine", () => {
  test("no files but its own modules", async () => {
    expect(await attempt("listFolder", "/")).toEqual({ result: ["bundle", "tmp", "dev"] });
    for (const path of [
      "/etc/passwd",
      "/proc/self/environ",
      "/proc/self/maps",
      `${platform.dataDir}/token`,
      platform.dataDir,
      "/bundle/../../etc/passwd",
      "/dev/../etc/passwd",
    ]) {
      for (const name of ["readFile", "listFolder", "writeFile", "link"]) {
        expect(await attempt(name, path), `${name} ${path}`).toMatchObject({
          error: expect.any(String),
        });
      }
    }
    // Its own folder for temporary files goes with the request.
    expect(await attempt("writeFile", "/tmp/left")).toEqual({ result: 1 });
    expect(await attempt("listFolder", "/tmp")).toEqual({ result: [] });
  });

  test("no environment, no processes, no names", async () => {
    expect(await attempt("environment")).toEqual({ result: {} });
    expect(await attempt("processIds")).toEqual({ result: [1, 0] });
    expect(await attempt("machine")).toEqual({ result: ["localhost", {}, {}] });
  });

  test.each([
    "execute",
    "spawn",
    "thread",
    "evaluate",
    "makeFunction",
    "makeWasm",
    "runInContext",
    "engineFlags",
    "heapSnapshot",
    "signal",
    "nativeCode",
    "binding",
  ])("no way to %s", async (name) => {
    expect(await attempt(name)).toMatchObject({ error: expect.any(String) });
  });

  test.each([
    "workerd:unsafe",
    "internal:unsafe-eval",
    "cloudflare-internal:env",
    "node-internal:process",
    "file:///etc/passwd",
  ])("no module %s", async (name) => {
    expect((await attempt("importModule", name)).error).toContain("No such module");
  });
});

describe("A worker sees of the platform", () => {
  test("its own entrypoints and those that serve it, no others", async () => {
    const own = ["default", "MayflyControl", "MayflyEvents", "Named"];
    expect(await attempt("exports")).toEqual({ result: [own, own] });
    for (const name of ["State", "Executor", "Shard", "Egress", "KvBinding", "ServiceBinding"]) {
      expect(await attempt("reachExport", name)).toEqual({ result: "undefined" });
    }
    const env = ["SELF", "KV", "BUCKET", "DB"];
    expect(await attempt("environmentOf")).toEqual({ result: [env, env] });
  });

  test("through a stub only what is bound", async () => {
    for (const name of [
      "env",
      "ctx",
      "callMethod",
      "dispatch",
      "tail",
      "queue",
      "scheduled",
      "evict",
    ]) {
      expect(await attempt("callStub", name), name).toMatchObject({ error: expect.any(String) });
    }
    for (const name of ["env", "ctx"]) {
      expect(await attempt("readStub", name), name).toMatchObject({ error: expect.any(String) });
    }
    for (const name of ["getValue", "putValue", "listKeys"]) {
      expect((await attempt("callKv", name)).error, name).toContain("not a function");
    }
    // These reach no further than the worker itself.
    expect(await attempt("forgeProps")).toEqual({ result: { forged: 1 } });
  });

  test("no cache that others could have filled", async () => {
    expect((await attempt("cache")).error).toContain("No Cache was configured");
    expect((await attempt("openCache")).error).toContain("No Cache was configured");
  });

  test("nothing under the names of its modules that it could replace", async () => {
    for (const name of [
      "__mayfly/main.js",
      "__mayfly/first.js",
      "./__mayfly/env.js",
      "a/../__mayfly/main.js",
    ]) {
      const path = `/accounts/${attacker.accountId}/workers/scripts/replaces`;
      const modules = { "index.js": ATTACKER, [name]: "export default 1" };
      const { status } = await sendForm(attacker, "PUT", path, COMPATIBILITY, modules);
      expect(status, name).toBe(400);
    }
  });

  test("no other script's request by a header", async () => {
    const target = { accountId: platform.accountId, scriptName: "victim" };
    const headers = {
      "mayfly-lane-call": encodeURIComponent(JSON.stringify({ id: "x", target, entrypoint: {} })),
      "cf-ray": "0",
      "mf-original-url": "http://victim.dev.localhost/",
    };
    const body = JSON.stringify({ name: "environmentOf" });
    const init = { method: "POST", body, headers };
    const response = await platform.fetchHost("attacker.attacker.localhost", "/", init);
    expect(await response.text()).not.toContain("SECRET");
  });
});

describe("A worker cannot reach", () => {
  test.each(["socket", "tlsSocket", "nodeSocket", "stubConnect"])(
    "what listens on loopback, by %s",
    async (name) => {
      const { port } = bystander.address() as AddressInfo;
      for (const host of ["127.0.0.1", "localhost", "0.0.0.0", "127.1", "2130706433"]) {
        const { result = "" } = await attempt(name, `${host}:${port}`);
        expect(result, host).toBe("");
      }
      expect(bystanderCalls).toBe(0);
    },
  );

  test.each(["fetch", "nodeHttp", "webSocket"])("what listens on loopback, by %s", async (name) => {
    const { port } = bystander.address() as AddressInfo;
    for (const host of ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "0x7f000001"]) {
      const scheme = name === "webSocket" ? "ws" : "http";
      const outcome = await attempt(name, `${scheme}://${host}:${port}/`);
      expect(outcome, host).toMatchObject({ error: expect.any(String) });
    }
    expect(bystanderCalls).toBe(0);
  });

  test("the platform's sockets", async () => {
    for (const address of [
      "unix:/tmp/x",
      `unix:${platform.dataDir}/run/state`,
      "unix-abstract:x",
    ]) {
      expect((await attempt("socket", address)).result ?? "").toBe("");
      expect(await attempt("fetch", address)).toMatchObject({ error: expect.any(String) });
    }
    for (const protocol of ["file:///etc/passwd", "ftp://127.0.0.1/"]) {
      expect(await attempt("fetch", protocol), protocol).toMatchObject({
        error: expect.any(String),
      });
    }
  });

  test("the control API, with or without a token", async () => {
    for (const host of ["localhost", "127.0.0.1", "[::1]"]) {
      const url = `http://${host}:${platform.port}/client/v4/user`;
      expect((await attempt("fetch", url)).error, url).toContain("egress refused");
    }
  });
});

describe("A worker cannot read another account's", () => {
  test("values", async () => {
    for (const key of climb(victims.namespaceId)) {
      expect((await attempt("kvGet", key)).result ?? null, key).toBe(null);
    }
    for (const prefix of ["", "..", "/", platform.accountId]) {
      expect(await attempt("kvList", prefix)).toEqual({ result: [] });
    }
  });

  test("objects", async () => {
    for (const key of climb("victim")) {
      expect((await attempt("r2Get", key)).result ?? null, key).toBe(null);
    }
    for (const prefix of ["", "..", "/", platform.accountId]) {
      expect(await attempt("r2List", prefix)).toEqual({ result: [] });
    }
  });

  test("rows", async () => {
    for (const sql of [
      "SELECT * FROM secrets",
      `ATTACH '${victims.databaseId}' AS other`,
      "ATTACH '/etc/passwd' AS other",
      "SELECT load_extension('x')",
      "SELECT readfile('/etc/passwd')",
      "SELECT * FROM _cf_KV",
      "SELECT * FROM _cf_METADATA",
      "VACUUM INTO '/tmp/copy'",
      "PRAGMA database_list",
      "PRAGMA temp_store_directory = '/tmp'",
    ]) {
      expect(await attempt("sql", sql), sql).toMatchObject({ error: expect.any(String) });
    }
  });

  test("resources by binding their ids, or services by their names", async () => {
    const path = `/accounts/${attacker.accountId}/workers/scripts/binds`;
    for (const binding of [
      ...bind(victims),
      { type: "service", name: "VICTIM", service: "victim" },
      { type: "queue", name: "QUEUE", queue_name: "victim" },
      { type: "worker_loader", name: "LOADER" },
    ]) {
      const { status } = await sendForm(attacker, "PUT", path, { bindings: [binding] });
      expect(status, JSON.stringify(binding)).toBeGreaterThanOrEqual(400);
    }
  });

  test("memory, where both run the same code", async () => {
    for (const host of ["victim.dev", "shared-attacker.attacker"]) {
      expect(await attempt("count", undefined, host)).toEqual({ result: 1 });
    }
    await attempt("leaveBehind", SECRET, "victim.dev");
    expect(await attempt("find", undefined, "victim.dev")).toEqual({ result: SECRET });
    expect(await attempt("find", undefined, "shared-attacker.attacker")).toEqual({ result: null });
    expect(await attempt("find")).toEqual({ result: null });
  });
});

describe("A worker cannot keep its isolate alive", () => {
  // Far more than there are spares, which are kept for a while.
  const CALLS = 100;
  const HELD_MIB = 8;
  test.each([
    [
      "by replacing the platform's class",
      true,
      `
      import("./__mayfly/main.js").then(({ MayflyControl }) => {
        try { MayflyControl.prototype.evict = () => {}; } catch {}
        try { Object.setPrototypeOf(MayflyControl, class {}); } catch {}
      });`,
    ],
    [
      "by replacing the clock",
      true,
      `
      const { wait } = scheduler;
      scheduler.wait = () => new Promise(() => {});
      globalThis.scheduler = { wait: () => new Promise(() => {}) };
      globalThis.setTimeout = () => 0;`,
    ],
    [
      "by replacing promises",
      true,
      `
      Object.defineProperty(Promise.prototype, "constructor", { value: class {} });
      Promise.prototype.then = () => new Promise(() => {});
      globalThis.Promise = class {};`,
    ],
    [
      "by what all objects inherit",
      false,
      `
      for (const name of ["get", "set", "value", "writable"]) {
        Object.defineProperty(Object.prototype, name, { get: () => () => {}, set() {}, configurable: true });
      }
      Object.freeze = (object) => object;
      Object.defineProperty = (object) => object;
      Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => {};`,
    ],
  ])("%s", async (_, atStart, preparation) => {
    const code = `
      const held = new Uint8Array(${HELD_MIB} * 2 ** 20).fill(1);
      const prepare = () => {${preparation}};
      if (${atStart}) prepare();
      export default {
        fetch(request, env, ctx) {
          const response = new Response(String(held[0]));
          try { Object.getPrototypeOf(ctx).waitUntil = () => {}; } catch {}
          if (!${atStart}) prepare();
          return response;
        },
      };`;
    await upload(attacker, { name: "clings", code, isolation: "request" });
    const pid = pidOf(platform, "executor-1");
    const before = residentMiB(pid);
    for (let i = 0; i < CALLS; i++) await platform.fetchHost("clings.attacker.localhost");
    // When it is given back is for the garbage collector to say.
    await until(() => residentMiB(pid) - before < (CALLS * HELD_MIB) / 2, 50_000);
    expect(pidOf(platform, "executor-1")).toBe(pid);
  });
});
