import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { deploy, wranglerWith } from "./harness/deploy.ts";
import { type CommandResult, type Platform, startPlatform } from "./harness/platform.ts";
import { fetchWorker } from "./harness/worker-fetch.ts";

// Each kv command of the real wrangler, its effect checked through the API or the other way round.
let platform: Platform;
let project: string;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "mayfly-kv-"));
  platform = await startPlatform();
});

afterAll(async () => {
  await platform?.stop();
  await rm(project, { recursive: true, force: true });
});

async function kv(...args: string[]): Promise<CommandResult> {
  const result = await platform.wrangler(["kv", ...args], { cwd: project });
  expect(result.code, result.stdout + result.stderr).toBe(0);
  return result;
}

const api = (path: string, init?: RequestInit): Promise<Response> =>
  platform.fetchApi(`/accounts/${platform.accountId}/storage/kv/namespaces${path}`, init);

interface Envelope {
  success: boolean;
  errors: { code: number; message: string }[];
  // Each test knows what it asked for.
  // oxlint-disable-next-line typescript/no-explicit-any
  result: any;
  result_info?: { cursor?: string; count?: number };
}

async function call(path: string, init?: RequestInit): Promise<Envelope> {
  return (await (await api(path, init)).json()) as Envelope;
}

const errorOf = async (answer: Promise<Envelope>): Promise<string | undefined> =>
  (await answer).errors[0]?.message;

const post = (body: unknown): RequestInit => ({ method: "POST", body: JSON.stringify(body) });

async function createNamespace(title: string): Promise<string> {
  const { result } = await call("", post({ title }));
  return result.id as string;
}

it("kv namespace create makes a namespace with an id of 32 hex digits", async () => {
  const { stdout } = await kv("namespace", "create", "made");
  const { result } = await call("");
  const made = result.find(({ title }: { title: string }) => title === "made");
  expect(made.id).toMatch(/^[\da-f]{32}$/);
  expect(made.supports_url_encoding).toBe(true);
  expect(stdout).toContain(made.id);
});

it("kv namespace create says if the title is taken", async () => {
  await createNamespace("taken");
  const result = await platform.wrangler(["kv", "namespace", "create", "taken"], { cwd: project });
  expect(result.code).not.toBe(0);
  expect(result.stdout + result.stderr).toContain('"taken" already exists');
  expect((await call("", post({ title: "taken" }))).errors[0]?.code).toBe(10014);
});

it("kv namespace list prints all namespaces and ends", async () => {
  const id = await createNamespace("listed");
  const { stdout } = await kv("namespace", "list");
  expect(JSON.parse(stdout)).toContainEqual({ id, title: "listed", supports_url_encoding: true });
});

it("kv namespace rename gives another title", async () => {
  const id = await createNamespace("before");
  await kv("namespace", "rename", "before", "--new-name", "after");
  expect((await call(`/${id}`)).result.title).toBe("after");
});

it("kv namespace delete removes the namespace and all its values for good", async () => {
  const id = await createNamespace("doomed");
  await api(`/${id}/values/key`, { method: "PUT", body: "value" });
  await kv("namespace", "delete", "--namespace-id", id);
  expect((await api(`/${id}`)).status).toBe(404);
  expect((await call(`/${id}/values/key`)).errors[0]?.code).toBe(10013);
  const again = await createNamespace("doomed");
  expect(again).not.toBe(id);
  expect((await call(`/${again}/keys`)).result).toEqual([]);
});

it("kv key put, get, list and delete", async () => {
  const id = await createNamespace("keys");
  const at = ["--namespace-id", id, "--remote"];
  await kv("key", "put", "a/b c?d%2F", "slash", ...at);
  await kv("key", "put", "plain", "hello", ...at, "--ttl", "3600", "--metadata", '{"m":[1]}');

  const got = await api(`/${id}/values/${encodeURIComponent("a/b c?d%2F")}`);
  expect(await got.text()).toBe("slash");
  const { result: keys, result_info } = await call(`/${id}/keys`);
  expect(keys).toEqual([
    { name: "a/b c?d%2F" },
    { name: "plain", metadata: { m: [1] }, expiration: expect.any(Number) as number },
  ]);
  expect(result_info).toEqual({ count: 2, cursor: "" });
  const inAnHour = Date.now() / 1000 + 3600;
  expect(Math.abs(keys[1].expiration - inAnHour)).toBeLessThan(120);
  const withExpiration = await api(`/${id}/values/plain`);
  expect(Number(withExpiration.headers.get("expiration"))).toBe(keys[1].expiration);
  expect((await call(`/${id}/metadata/plain`)).result).toEqual({ m: [1] });

  expect((await kv("key", "get", "a/b c?d%2F", ...at)).stdout).toContain("slash");
  expect((await kv("key", "get", "plain", "--text", ...at)).stdout).toContain("hello");
  const listed = await kv("key", "list", "--prefix", "a/", ...at);
  expect(JSON.parse(listed.stdout)).toEqual([{ name: "a/b c?d%2F" }]);

  await kv("key", "delete", "a/b c?d%2F", ...at);
  expect((await api(`/${id}/values/${encodeURIComponent("a/b c?d%2F")}`)).status).toBe(404);
  const missing = await platform.wrangler(["kv", "key", "get", "none", ...at], { cwd: project });
  expect(missing.stdout + missing.stderr).toContain("404");
});

it("kv key put sends a file byte by byte", async () => {
  const id = await createNamespace("files");
  const bytes = Uint8Array.from({ length: 100_000 }, (_, at) => at % 256);
  const file = join(project, "bytes.bin");
  await writeFile(file, bytes);
  await kv("key", "put", "bytes", "--path", file, "--namespace-id", id, "--remote");
  const got = await api(`/${id}/values/bytes`);
  expect(new Uint8Array(await got.arrayBuffer())).toEqual(bytes);
});

it("kv key list walks through more than one page", async () => {
  const id = await createNamespace("pages");
  const pairs = Array.from({ length: 2_050 }, (_, at) => ({
    key: `key-${String(at).padStart(4, "0")}`,
    value: `${at}`,
  }));
  const put = await call(`/${id}/bulk`, { method: "PUT", body: JSON.stringify(pairs) });
  expect(put.result.successful_key_count).toBe(2_050);
  const { stdout } = await kv("key", "list", "--namespace-id", id, "--remote");
  const names = (JSON.parse(stdout) as { name: string }[]).map(({ name }) => name);
  expect(names).toEqual(pairs.map(({ key }) => key));
});

it("kv bulk put, get and delete", async () => {
  const id = await createNamespace("bulk");
  const at = ["--namespace-id", id, "--remote"];
  const put = join(project, "put.json");
  await writeFile(
    put,
    JSON.stringify([
      { key: "text", value: "one" },
      { key: "bytes", value: "AP8=", base64: true },
      { key: "more", value: "two", metadata: { a: 1 }, expiration_ttl: 600 },
    ]),
  );
  await kv("bulk", "put", put, ...at);
  const bytes = await api(`/${id}/values/bytes`);
  expect(new Uint8Array(await bytes.arrayBuffer())).toEqual(new Uint8Array([0, 255]));
  expect((await call(`/${id}/metadata/more`)).result).toEqual({ a: 1 });

  const keys = join(project, "keys.json");
  await writeFile(keys, JSON.stringify(["text", "more", "none"]));
  const got = await kv("bulk", "get", keys, ...at);
  expect(got.stdout).toContain('"one"');
  expect(got.stdout).toContain('"two"');

  await writeFile(keys, JSON.stringify(["text", "more"]));
  await kv("bulk", "delete", keys, ...at, "--force");
  const left = (await call(`/${id}/keys`)).result as { name: string }[];
  expect(left.map(({ name }) => name)).toEqual(["bytes"]);
});

it("shows a worker what the API wrote, and the API what a worker wrote, at once", async () => {
  const id = await createNamespace("shared");
  const main = join(project, "worker.js");
  await writeFile(
    main,
    `export default {
      async fetch(request, env) {
        const key = new URL(request.url).pathname.slice(1);
        if (request.method === "PUT") await env.KV.put(key, request.body);
        return new Response(await env.KV.get(key));
      },
    };`,
  );
  const kv_namespaces = [{ binding: "KV", id }];
  const address = await deploy(platform, { name: "kv-worker", main, kv_namespaces });
  for (let at = 0; at < 5; at++) {
    await api(`/${id}/values/key`, { method: "PUT", body: `api ${at}` });
    expect(await (await fetchWorker(`${address}/key`)).text()).toBe(`api ${at}`);
    await fetchWorker(`${address}/key`, { method: "PUT", body: `worker ${at}` });
    expect(await (await api(`/${id}/values/key`)).text()).toBe(`worker ${at}`);
  }
  await api(`/${id}`, { method: "DELETE" });
  const gone = await fetchWorker(`${address}/key`);
  expect(gone.status).toBe(500);
});

it("refuses a namespace of another account as a binding", async () => {
  const main = join(project, "foreign.js");
  await writeFile(main, "export default { fetch: () => new Response() };");
  const kv_namespaces = [{ binding: "KV", id: "0123456789abcdef0123456789abcdef" }];
  const { code, stdout, stderr } = await wranglerWith(
    platform,
    { name: "foreign", main, kv_namespaces },
    ["deploy"],
  );
  expect(code).not.toBe(0);
  expect(stdout + stderr).toContain("0123456789abcdef0123456789abcdef");
});

it("says what is wrong with a request", async () => {
  const id = await createNamespace("wrong");
  const put = (path: string, body = "x"): Promise<Envelope> =>
    call(`/${id}/values/${path}`, { method: "PUT", body });
  expect(await errorOf(put("x".repeat(513)))).toContain("exceeds key length limit of 512");
  expect(await errorOf(put("k?expiration_ttl=59"))).toContain("must be at least 60");
  expect(await errorOf(put("k?expiration=soon"))).toContain("expiration");
  expect(await errorOf(put("k", "x".repeat(25 * 1024 * 1024 + 1)))).toContain("exceeds limit");
  expect(await errorOf(put("%ff"))).toContain("percent-encoded UTF-8");
  expect(await errorOf(call("", post({ title: "" })))).toContain("title");
  expect(await errorOf(call("", post({ title: "eu", jurisdiction: "eu" })))).toContain(
    "jurisdiction",
  );
  expect(await errorOf(call(`/${id}/bulk/get`, post({ keys: [] })))).toContain("minimum of 1 key");
  expect(await errorOf(call(`/${id}/keys?limit=1001`))).toContain("1001");
});

it("gives a full-length key back as it was put", async () => {
  const id = await createNamespace("long");
  // 512 bytes, with a character of three bytes where the key is cut in storage.
  for (const key of ["k".repeat(512), `${"é".repeat(236)}${"日".repeat(13)}z`]) {
    const path = `/${id}/values/${encodeURIComponent(key)}`;
    expect((await call(path, { method: "PUT", body: "long" })).errors).toEqual([]);
    expect(await (await api(path)).text()).toBe("long");
    const { result } = await call(`/${id}/keys?prefix=${encodeURIComponent(key.slice(0, -1))}`);
    expect(result).toEqual([{ name: key }]);
    await api(path, { method: "DELETE" });
    expect((await api(path)).status).toBe(404);
  }
});

it("keeps a namespace from other accounts", async () => {
  const id = await createNamespace("mine");
  await api(`/${id}/values/key`, { method: "PUT", body: "mine" });
  const other = "f".repeat(32);
  const foreign = await platform.fetchApi(
    `/accounts/${other}/storage/kv/namespaces/${id}/values/key`,
  );
  expect(foreign.status).toBe(404);
  // A cursor that points before the namespace's own keys gives none of others.
  const next = await createNamespace("next");
  const forged = Buffer.from("0").toString("base64");
  expect((await call(`/${next}/keys?cursor=${forged}`)).result).toEqual([]);
});
