import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callApi, type Answer } from "./harness/api.ts";
import { wranglerWith } from "./harness/deploy.ts";
import { fails, succeeds } from "./harness/expect-command.ts";
import { MAIN, sendForm, type FormModule } from "./harness/form.ts";
import { startPlatform, type CommandResult, type Platform } from "./harness/platform.ts";

const WORKERS = join(import.meta.dirname, "workers");
const NAME = join(WORKERS, "name/index.js");
const ENV = join(WORKERS, "env/index.js");
const UUID = /[0-9a-f]{8}-[0-9a-f-]{27}/;

let platform: Platform;
beforeAll(async () => {
  platform = await startPlatform();
});
afterAll(() => platform.stop());

const deploy = (name: string, config: Record<string, unknown>): Promise<CommandResult> =>
  wranglerWith(platform, { name, main: ENV, ...config }, ["deploy"]);
const scriptPath = (name: string): string =>
  `/accounts/${platform.accountId}/workers/scripts/${name}`;
const get = (path: string): Promise<Answer> => callApi(platform, "GET", path);

async function fetchScript(name: string, init?: RequestInit): Promise<unknown> {
  const response = await platform.fetchHost(`${name}.dev.localhost`, "/", init);
  const text = await response.text();
  expect(response.status, text).toBe(200);
  return JSON.parse(text);
}

describe("wrangler deploy", () => {
  it("puts a script live at the address that it prints, and again with the next version", async () => {
    const config = { main: NAME, vars: { NAME: "first" } };
    const first = await succeeds(deploy("again", config));
    expect(first).toContain("again.dev.localhost");
    expect(first).toMatch(/Worker Startup Time: \d+ ms/);
    const host = "again.dev.localhost";
    expect(await (await platform.fetchHost(host)).text()).toMatch(/^first /);

    const second = await succeeds(deploy("again", { ...config, vars: { NAME: "second" } }));
    expect(await (await platform.fetchHost(host)).text()).toMatch(/^second /);
    const [firstId, secondId] = [first, second].map((text) => UUID.exec(text)?.[0]);
    expect(firstId).not.toBe(secondId);

    const { result } = await get(`${scriptPath("again")}/deployments`);
    expect(result.deployments.map(({ versions }: { versions: unknown }) => versions)).toEqual([
      [{ version_id: secondId, percentage: 100 }],
      [{ version_id: firstId, percentage: 100 }],
    ]);
  });

  it("takes ES modules, CommonJS, WebAssembly, text and data", async () => {
    const rules = [{ type: "CommonJS", globs: ["**/*.cjs"] }];
    await succeeds(deploy("modules", { main: join(WORKERS, "modules/index.js"), rules }));
    const expected = {
      wasm: 42,
      data: [0, 1, 254, 255],
      cjs: "hello mayfly",
      text: "grüße\n",
      esm: "ES",
    };
    expect(await fetchScript("modules")).toEqual(expected);

    const unbundled = { type: "ESModule", globs: ["**/*.mjs", "**/*.js"] };
    await succeeds(
      deploy("unbundled", {
        main: join(WORKERS, "modules/index.js"),
        no_bundle: true,
        rules: [unbundled, ...rules, { type: "Data", globs: ["**/*.bin"] }],
      }),
    );
    expect(await fetchScript("unbundled")).toEqual(expected);
  });

  it("takes JSON modules, and leaves source maps out", async () => {
    const answer = await sendForm(
      platform,
      "PUT",
      scriptPath("json"),
      {},
      {
        "index.js": `import data from "./a/data.json"; export default { fetch: () => Response.json(data) };`,
        "a/data.json": [`{"deep":[1,null]}`, "application/json"],
        "index.js.map": ["no json at all", "application/source-map"],
      },
    );
    expect(answer).toMatchObject({ status: 200, result: { handlers: ["fetch"] } });
    await callApi(platform, "POST", `${scriptPath("json")}/subdomain`, { enabled: true });
    expect(await fetchScript("json")).toEqual({ deep: [1, null] });
  });

  it("gives variables, and keeps secrets and with --keep-vars the variables", async () => {
    await succeeds(deploy("vars", { vars: { TEXT: "text", JSON: { deep: [1] } } }));
    expect(await fetchScript("vars")).toEqual({ TEXT: "text", JSON: { deep: [1] } });

    const config = { name: "vars", main: ENV };
    await succeeds(wranglerWith(platform, config, ["secret", "put", "KEY"], "hidden"));
    await succeeds(wranglerWith(platform, config, ["deploy", "--keep-vars"]));
    expect(await fetchScript("vars")).toEqual({ TEXT: "text", JSON: { deep: [1] }, KEY: "hidden" });
    await succeeds(wranglerWith(platform, config, ["deploy"]));
    expect(await fetchScript("vars")).toEqual({ KEY: "hidden" });
  });

  it("makes what its bindings lack, and binds to the same with the next deploy", async () => {
    const config = {
      kv_namespaces: [{ binding: "KV" }],
      r2_buckets: [{ binding: "BUCKET" }],
      d1_databases: [{ binding: "DB" }],
    };
    await succeeds(deploy("provisioned", config));
    const kept = { KV: "kept", BUCKET: "kept", DB: "kept" };
    expect(await fetchScript("provisioned", { method: "POST", body: "kept" })).toEqual(kept);
    await succeeds(deploy("provisioned", { ...config, vars: { NEXT: "yes" } }));
    expect(await fetchScript("provisioned")).toEqual({ ...kept, NEXT: "yes" });

    const { result } = await get(`${scriptPath("provisioned")}/settings`);
    expect(result.bindings).toEqual(
      expect.arrayContaining([
        { type: "kv_namespace", name: "KV", namespace_id: expect.stringMatching(/^[0-9a-f]{32}$/) },
        { type: "r2_bucket", name: "BUCKET", bucket_name: "provisioned-bucket" },
        { type: "d1", name: "DB", id: expect.stringMatching(UUID) },
        { type: "plain_text", name: "NEXT", text: "yes" },
      ]),
    );
  });

  it("binds to other scripts and to itself", async () => {
    await succeeds(deploy("called", { vars: { WHO: "called" } }));
    await succeeds(deploy("caller", { services: [{ binding: "OTHER", service: "called" }] }));
    expect(await fetchScript("caller")).toEqual({ OTHER: { WHO: "called" } });
    await succeeds(deploy("selfish", { services: [{ binding: "ME", service: "selfish" }] }));
  });

  it("tells the isolation and wall time of a version, by default by its start-up", async () => {
    const latest = async (name: string): Promise<Answer["result"]> =>
      (await get(`${scriptPath(name)}/versions`)).result.items[0];
    const mayfly = { isolation: "shared", wall_time_ms: 1234 };
    await succeeds(deploy("explicit", { unsafe: { metadata: { mayfly } } }));
    expect(await latest("explicit")).toMatchObject({ mayfly });

    // The clock stands still at top level, so the time must really be spent.
    const spend = "let sum = 0; for (let i = 0; i < 4e7; i++) sum = (sum + i) | 0;";
    const modules = { "index.js": `${spend} globalThis.sum = sum; ${MAIN}` };
    const answer = await sendForm(platform, "PUT", scriptPath("slow"), {}, modules);
    expect(answer).toMatchObject({ status: 200 });
    const slow = await latest("slow");
    expect(slow.startup_time_ms).toBeGreaterThan(10);
    expect(slow).toMatchObject({ mayfly: { isolation: "shared", wall_time_ms: 30_000 } });
  });

  it("sets tags and observability of the script", async () => {
    const observability = { enabled: true, head_sampling_rate: 0.5 };
    await succeeds(deploy("settings", { observability, logpush: true }));
    const settings = async (): Promise<unknown> =>
      (await get(`${scriptPath("settings")}/script-settings`)).result;
    expect(await settings()).toMatchObject({ observability, logpush: true, tags: [] });
    await succeeds(deploy("settings", {}));
    expect(await settings()).toMatchObject({ observability: { enabled: false } });
    const change = { tags: ["cf:service=settings"], tail_consumers: [], logpush: null };
    const path = `${scriptPath("settings")}/script-settings`;
    const { result } = await callApi(platform, "PATCH", path, change);
    expect(result).toMatchObject({ tags: change.tags, logpush: false });
    expect(await settings()).toEqual(result);
    const tail = { tail_consumers: [{ service: "x" }] };
    expect(await callApi(platform, "PATCH", path, tail)).toMatchObject({ code: 10203 });
  });

  it("has the script listed and its code given back", async () => {
    const { result } = await get(`/accounts/${platform.accountId}/workers/scripts`);
    expect(result.map(({ id }: { id: string }) => id)).toContain("again");
    const response = await platform.fetchApi(scriptPath("json"));
    expect(response.headers.get("cf-entrypoint")).toBe("index.js");
    const form = await response.formData();
    expect([...form.keys()]).toEqual(["index.js", "a/data.json"]);
    expect(await (form.get("a/data.json") as File).text()).toBe(`{"deep":[1,null]}`);
  });
});

describe("code that does not start", () => {
  it("is refused with its stack, and leaves what is deployed", async () => {
    await succeeds(deploy("sound", { vars: { SOUND: "yes" } }));
    const output = await fails(deploy("sound", { main: join(WORKERS, "broken/throws.js") }));
    expect(output).toContain("Uncaught Error: not today");
    expect(output).toMatch(/throws\.js:3:\d+.* in fail/);
    expect(output).toContain("[code: 10021]");
    expect(await fetchScript("sound")).toEqual({ SOUND: "yes" });
    const { result } = await get(`${scriptPath("sound")}/versions`);
    expect(result.items).toHaveLength(1);
  });

  it("is refused if it does not come to an end, and others are not kept waiting", async () => {
    const [output, answer] = await Promise.all([
      fails(deploy("endless", { main: join(WORKERS, "broken/endless.js") })),
      fetchScript("sound"),
    ]);
    expect(output).toContain("Script startup exceeded CPU time limit. [code: 10021]");
    expect(answer).toEqual({ SOUND: "yes" });
    expect(await get(scriptPath("endless"))).toMatchObject({ status: 404, code: 10007 });
    const service = `/accounts/${platform.accountId}/workers/services/endless`;
    expect(await get(service)).toMatchObject({ status: 404, code: 10090 });
    // The quarantine is there for the next one.
    expect(await sendForm(platform, "PUT", scriptPath("next"), {})).toMatchObject({ status: 200 });
  });

  it("is refused if it is no JavaScript, imports what is not there or sets no such flag", async () => {
    const path = scriptPath("wrong");
    expect(
      await sendForm(platform, "PUT", path, {}, { "index.js": "export const = 1" }),
    ).toMatchObject({ code: 10021, message: expect.stringMatching(/SyntaxError.*index\.js:1/s) });
    const missing = { "index.js": `import "./missing.js"; ${MAIN}` };
    expect(await sendForm(platform, "PUT", path, {}, missing)).toMatchObject({
      code: 10021,
      message: expect.stringContaining("missing.js"),
    });
    const flags = { compatibility_flags: ["no_such_flag"] };
    expect(await sendForm(platform, "PUT", path, flags)).toMatchObject({
      code: 10021,
      message: expect.stringContaining("no_such_flag"),
    });
  });
});

const put = (init: RequestInit): Promise<Response> =>
  platform.fetchApi(scriptPath("refused"), { method: "PUT", ...init });

const binding = (type: string, members: object = {}): Record<string, unknown> => ({
  bindings: [{ type, name: "B", ...members }],
});

describe("an upload is refused by the name of the field", () => {
  const tomorrow = new Date(Date.now() + 86_400_000 * 2).toISOString().slice(0, 10);
  const variables = Array.from({ length: 129 }, (_, i) => ({
    type: "plain_text",
    name: `V${i}`,
    text: "",
  }));
  const id = "00000000-0000-4000-8000-000000000000";

  it.each<[string, Record<string, unknown>]>([
    ["main_module", { main_module: undefined }],
    ["main_module", { main_module: "other.js" }],
    ["body_part", { main_module: undefined, body_part: "index.js" }],
    ["compatibility_date", { compatibility_date: "2026-02-30" }],
    ["compatibility_date", { compatibility_date: "today" }],
    ["compatibility_date", { compatibility_date: tomorrow }],
    ["compatibility_date", { compatibility_date: "2021-11-01" }],
    ["compatibility_flags", { compatibility_flags: ["experimental"] }],
    ["compatibility_flags", { compatibility_flags: "nodejs_compat" }],
    ["no_such_member", { no_such_member: 1 }],
    ["mayfly.isolation", { mayfly: { isolation: "none" } }],
    ["mayfly.wall_time_ms", { mayfly: { wall_time_ms: 0 } }],
    ["mayfly.wall_time_ms", { mayfly: { wall_time_ms: 600_001 } }],
    ["mayfly.cpu_ms", { mayfly: { cpu_ms: 1 } }],
    ["annotations.workers/alias", { annotations: { "workers/alias": "UPPER" } }],
    ["annotations.workers/message", { annotations: { "workers/message": "x".repeat(1001) } }],
    ["bindings.0.name", binding("plain_text", { text: "", name: "not-a-name" })],
    ["bindings.0.name", binding("plain_text", { text: "", name: "__proto__" })],
    ["bindings.0.text", binding("plain_text", { text: "é".repeat(2561) })],
    ["bindings.0.json", binding("json", { json: "x".repeat(5119) })],
    ["bindings.0.jurisdiction", binding("r2_bucket", { bucket_name: "b", jurisdiction: "eu" })],
    ["bindings.0.type", binding("no_such_type")],
    ["bindings.0.type", binding("ai_search")],
    ["bindings.1.name", { bindings: [variables[0], variables[0]] }],
    ["bindings", { bindings: variables }],
    ["durable_object_namespace", binding("durable_object_namespace", { class_name: "C" })],
    ["workflow", binding("workflow", { workflow_name: "w", class_name: "C" })],
    ["bindings.0.delivery_delay", binding("queue", { queue_name: "q", delivery_delay: 86_401 })],
    ["assets", binding("assets")],
    ["ratelimit", binding("ratelimit", { namespace_id: "1", simple: { limit: 1, period: 10 } })],
    ["analytics_engine", binding("analytics_engine", { dataset: "d" })],
    ["hyperdrive", binding("hyperdrive", { id: "h" })],
    ["migrations", { migrations: { new_tag: "v1", steps: [{ new_sqlite_classes: ["C"] }] } }],
    ["exports.C", { exports: { C: { type: "durable-object", storage: "sqlite" } } }],
    ["assets.jwt", { assets: { jwt: "x", config: {} } }],
    ["containers", { containers: [{ class_name: "C" }] }],
    ["streaming_tail_consumers", { streaming_tail_consumers: [{ service: "tail" }] }],
    ["limits.subrequests", { limits: { subrequests: 50 } }],
    ["binding B of type d1 must have a valid `id` specified", binding("d1")],
    ["binding B of type d1 must have a valid `id` specified", binding("d1", { id })],
  ])("%s", async (field, metadata) => {
    const answer = await sendForm(platform, "PUT", scriptPath("refused"), metadata);
    expect(answer).toMatchObject({ status: 400, code: 10021 });
    expect(answer.message).toContain(field);
    expect(await get(`${scriptPath("refused")}/settings`)).toMatchObject({ code: 10007 });
  });

  it.each<[number, string, Record<string, unknown>]>([
    [11000, "queue_name", binding("queue", { queue_name: "none" })],
    [10041, "namespace_id", binding("kv_namespace", { namespace_id: "0".repeat(32) })],
    [10085, "bucket_name", binding("r2_bucket", { bucket_name: "nobodys" })],
    [10143, "'nobody'", binding("service", { service: "nobody" })],
    [10057, "inherit binding 'B' is invalid", binding("inherit")],
  ])("%i: %s", async (code, field, metadata) => {
    const answer = await sendForm(platform, "PUT", scriptPath("refused"), metadata);
    expect(answer).toMatchObject({ status: 400, code });
    expect(answer.message).toContain(field);
  });

  it.each<[string, Record<string, FormModule>]>([
    ["__mayfly/main.js", { "__mayfly/main.js": "export {}" }],
    ["./a/../__mayfly/main.js", { "./a/../__mayfly/main.js": "export {}" }],
    ["../up.js", { "../up.js": "export {}" }],
    ["/root.js", { "/root.js": "export {}" }],
    ["cloudflare:workers", { "cloudflare:workers": "export {}" }],
    ["./index.js", { "./index.js": "export {}" }],
    ["worker.py", { "worker.py": ["print()", "text/x-python"] }],
    ["style.css", { "style.css": ["p {}", "text/css"] }],
    ["data.json", { "data.json": ["{", "application/json"] }],
    ["main_module", { "index.js": ["", "application/javascript"] }],
  ])("module %s", async (field, modules) => {
    const all = { "index.js": MAIN, ...modules };
    const answer = await sendForm(platform, "PUT", scriptPath("refused"), {}, all);
    expect(answer).toMatchObject({ status: 400, code: 10021 });
    expect(answer.message).toContain(field);
  });

  it("modules, if they are too large or too many", async () => {
    const large = new Uint8Array(29 * 1024 * 1024);
    const many = Array.from({ length: 1001 }, (_, i) => [`m${i}.js`, "export {}"] as const);
    for (const modules of [
      { "index.js": MAIN, "large.bin": [large, "application/octet-stream"] as FormModule },
      { "index.js": MAIN, ...Object.fromEntries(many) },
    ]) {
      const answer = await sendForm(
        platform,
        "PUT",
        scriptPath("refused"),
        {},
        modules as Record<string, FormModule>,
      );
      expect(answer).toMatchObject({ status: 413, code: 10027 });
      expect(answer.message).toContain("modules");
    }
  });

  it("and wrangler shows it", async () => {
    const objects = {
      durable_objects: { bindings: [{ name: "COUNTER", class_name: "Counter" }] },
      migrations: [{ tag: "v1", new_sqlite_classes: ["Counter"] }],
      main: join(WORKERS, "broken/object.js"),
    };
    const output = await fails(deploy("objects", objects));
    expect(output).toMatch(/migrations\S*: Durable Objects are not supported by Mayfly yet/);

    const database = { d1_databases: [{ binding: "DB", database_id: "not-there" }] };
    expect(await fails(deploy("nodb", database))).toContain("You must use a real database");
    const name = "Not_A_Name".repeat(7);
    expect(await sendForm(platform, "PUT", scriptPath(name), {})).toMatchObject({ code: 10016 });
  });

  it("with an answer that arrives, however much is sent with it", async () => {
    const body = "x".repeat(5_000_000);
    for (let i = 0; i < 10; i++) {
      const headers = { authorization: "Bearer wrong" };
      const unauthorized = await put({ body, headers });
      expect(unauthorized.status).toBe(401);
      const unknown = await platform.fetchApi(`${scriptPath("refused")}/secrets`, {
        method: "PUT",
        body,
      });
      expect(await unknown.json()).toMatchObject({ errors: [{ code: 10007 }] });
    }
  });

  it("if it is no form", async () => {
    const answers = [
      await put({ body: "{}" }),
      await put({ body: new FormData() }),
      await put({ body: "--x", headers: { "content-type": "multipart/form-data; boundary=y" } }),
    ];
    for (const answer of answers) {
      expect(answer.status).toBe(400);
      expect(await answer.json()).toMatchObject({ errors: [{ code: 10021 }] });
    }
  });
});
