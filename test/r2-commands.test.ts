import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { deploy } from "./harness/deploy.ts";
import { type CommandResult, type Platform, startPlatform } from "./harness/platform.ts";
import { fetchWorker } from "./harness/worker-fetch.ts";

// Each core r2 command of the real wrangler, its effect checked through the API.
let platform: Platform;
let project: string;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "mayfly-r2-"));
  platform = await startPlatform();
});

afterAll(async () => {
  await platform?.stop();
  await rm(project, { recursive: true, force: true });
});

const run = (...args: string[]): Promise<CommandResult> =>
  platform.wrangler(["r2", ...args], { cwd: project });

async function r2(...args: string[]): Promise<CommandResult> {
  const result = await run(...args);
  expect(result.code, result.stdout + result.stderr).toBe(0);
  return result;
}

async function refused(...args: string[]): Promise<string> {
  const result = await run(...args);
  expect(result.code, result.stdout).not.toBe(0);
  return result.stdout + result.stderr;
}

const api = (path: string, init?: RequestInit): Promise<Response> =>
  platform.fetchApi(`/accounts/${platform.accountId}/r2/buckets${path}`, init);

interface Envelope {
  errors: { code: number; message: string }[];
  // Each test knows what it asked for.
  // oxlint-disable-next-line typescript/no-explicit-any
  result: any;
  // oxlint-disable-next-line typescript/no-explicit-any
  result_info: any;
}

async function call(path: string, init?: RequestInit): Promise<Envelope> {
  return (await (await api(path, init)).json()) as Envelope;
}

const send = (method: string, body: unknown): RequestInit => ({
  method,
  body: JSON.stringify(body),
});

async function createBucket(name: string): Promise<void> {
  expect((await call("", send("POST", { name }))).errors).toEqual([]);
}

it("r2 bucket create makes a bucket with its storage class and location", async () => {
  await r2("bucket", "create", "made", "--location", "weur", "--storage-class", "InfrequentAccess");
  const { result } = await call("/made");
  expect(result).toMatchObject({
    name: "made",
    location: "WEUR",
    storage_class: "InfrequentAccess",
    creation_date: expect.stringMatching(/^\d{4}-.*Z$/) as string,
  });
  expect(await refused("bucket", "create", "made")).toContain("10004");
});

it("takes only names that Cloudflare takes", async () => {
  for (const name of ["ab", "-ab", "ab-", "Abc", "a_c", "a".repeat(64), ""]) {
    expect((await call("", send("POST", { name }))).errors[0]?.code, name).toBe(10005);
  }
  expect((await call("/none")).errors[0]?.code).toBe(10006);
});

it("r2 bucket list prints the buckets", async () => {
  await createBucket("listed");
  expect((await r2("bucket", "list")).stdout).toMatch(/name:\s+listed/);
  const { result } = await call("?name_contains=iste");
  expect(result.buckets.map(({ name }: { name: string }) => name)).toEqual(["listed"]);
});

it("r2 bucket info counts the objects", async () => {
  await createBucket("counted");
  for (const key of ["a", "b/c"]) await api(`/counted/objects/${key}`, put("x".repeat(1500)));
  const { stdout } = await r2("bucket", "info", "counted");
  expect(stdout).toMatch(/object_count:\s+2\b/);
  expect(stdout).toMatch(/bucket_size:\s+3 kB/);
});

it("r2 bucket update storage-class changes the default", async () => {
  await createBucket("classy");
  await r2("bucket", "update", "storage-class", "classy", "--storage-class", "InfrequentAccess");
  expect((await call("/classy")).result.storage_class).toBe("InfrequentAccess");
});

it("r2 bucket delete deletes an empty bucket only", async () => {
  await createBucket("doomed");
  await api("/doomed/objects/key", put("old"));
  expect(await refused("bucket", "delete", "doomed")).toContain("10008");
  await api("/doomed/objects/key", { method: "DELETE" });
  await r2("bucket", "delete", "doomed");
  expect((await call("/doomed")).errors[0]?.code).toBe(10006);
  await createBucket("doomed");
  expect((await call("/doomed/objects")).result).toEqual([]);
});

const put = (body: string): RequestInit => ({ method: "PUT", body });

it("r2 object put, get and delete", async () => {
  await createBucket("objects");
  const bytes = Uint8Array.from({ length: 3_000_000 }, (_, at) => at % 251);
  const file = join(project, "bytes.bin");
  await writeFile(file, bytes);
  const headers = ["--content-type", "image/png", "--cache-control", "max-age=60"];
  headers.push("--content-disposition", "inline", "--content-language", "de");
  headers.push("--expires", "Thu, 01 Jan 2032 00:00:00 GMT", "--storage-class", "Standard");
  const key = "objects/folder/a b%41.bin";
  await r2("object", "put", key, "--file", file, "--remote", ...headers);
  const got = await api("/objects/objects/folder/a%20bA.bin");
  expect(got.status).toBe(200);
  expect(Object.fromEntries(got.headers)).toMatchObject({
    "content-type": "image/png",
    "cache-control": "max-age=60",
    "content-disposition": "inline",
    "content-language": "de",
    expires: "Thu, 01 Jan 2032 00:00:00 GMT",
  });
  expect(Buffer.from(await got.arrayBuffer()).equals(bytes)).toBe(true);

  const target = join(project, "got.bin");
  await r2("object", "get", "objects/folder/a bA.bin", "--file", target, "--remote");
  expect((await readFile(target)).equals(bytes)).toBe(true);
  expect(await refused("object", "get", "objects/none", "--pipe", "--remote")).toContain(
    "does not exist",
  );

  await r2("object", "delete", "objects/folder/a bA.bin", "--remote");
  expect((await call("/objects/objects/folder/a%20bA.bin")).errors[0]?.code).toBe(10007);
  expect(await refused("object", "put", "nowhere/k", "--file", file, "--remote")).toContain(
    "does not exist",
  );
});

it("r2 object put takes what is piped in", async () => {
  await createBucket("piped");
  const args = ["r2", "object", "put", "piped/in", "--pipe", "--remote"];
  const result = await platform.wrangler(args, { cwd: project, input: "from a pipe" });
  expect(result.code, result.stderr).toBe(0);
  expect(await (await api("/piped/objects/in")).text()).toBe("from a pipe");
});

it("r2 object put takes an empty file", async () => {
  await createBucket("empty");
  const file = join(project, "empty");
  await writeFile(file, "");
  await r2("object", "put", "empty/file", "--file", file, "--remote");
  expect((await call("/empty/objects")).result).toMatchObject([{ key: "file", size: 0 }]);
});

it("r2 bulk put puts many files", async () => {
  await createBucket("bulk");
  const entries = ["one", "two", "deep/three"].map((key) => ({
    key,
    file: join(project, key.replace("/", "-")),
  }));
  for (const { key, file } of entries) await writeFile(file, key);
  const list = join(project, "bulk.json");
  await writeFile(list, JSON.stringify(entries));
  await r2("bulk", "put", "bulk", "--filename", list, "--remote");
  for (const { key } of entries) {
    expect(await (await api(`/bulk/objects/${key}`)).text()).toBe(key);
  }
});

it("lists objects by prefix and delimiter, page by page", async () => {
  await createBucket("pages");
  for (const key of ["a", "b/1", "b/2", "c"]) await api(`/pages/objects/${key}`, put(key));
  const grouped = await call("/pages/objects?delimiter=/");
  expect(grouped.result.map(({ key }: { key: string }) => key)).toEqual(["a", "c"]);
  expect(grouped.result_info.delimited).toEqual(["b/"]);
  const keys: string[] = [];
  for (let cursor = "", more = true; more;) {
    const page = await call(`/pages/objects?per_page=2&prefix=b&cursor=${cursor}`);
    keys.push(...page.result.map(({ key }: { key: string }) => key));
    more = page.result_info.is_truncated;
    ({ cursor } = page.result_info);
  }
  expect(keys).toEqual(["b/1", "b/2"]);
});

it("r2 bucket cors set, list and delete", async () => {
  await createBucket("cors");
  const rules = [
    {
      allowed: { origins: ["https://a.test"], methods: ["GET", "PUT"], headers: ["x-a"] },
      exposeHeaders: ["etag"],
      maxAgeSeconds: 60,
    },
  ];
  const file = join(project, "cors.json");
  await writeFile(file, JSON.stringify({ rules }));
  await r2("bucket", "cors", "set", "cors", "--file", file, "--force");
  expect((await call("/cors/cors")).result).toEqual({ rules });
  expect((await r2("bucket", "cors", "list", "cors")).stdout).toContain("https://a.test");
  await r2("bucket", "cors", "delete", "cors", "--force");
  expect((await call("/cors/cors")).result).toEqual({ rules: [] });
  const wrong = { rules: [{ allowed: { origins: ["*"], methods: ["FETCH"] } }] };
  expect((await call("/cors/cors", send("PUT", wrong))).errors[0]?.message).toContain(
    "rules.0.allowed.methods.0",
  );
});

it("r2 bucket lifecycle set, list, add and remove", async () => {
  await createBucket("life");
  const rule = {
    id: "old",
    enabled: true,
    conditions: { prefix: "logs/" },
    deleteObjectsTransition: { condition: { type: "Age", maxAge: 86_400 } },
  };
  const file = join(project, "lifecycle.json");
  await writeFile(file, JSON.stringify({ rules: [rule] }));
  await r2("bucket", "lifecycle", "set", "life", "--file", file, "--force");
  expect((await call("/life/lifecycle")).result).toEqual({ rules: [rule] });

  const add = ["--name", "more", "--prefix", "tmp/", "--expire-days", "7"];
  await r2("bucket", "lifecycle", "add", "life", ...add, "--force");
  expect((await r2("bucket", "lifecycle", "list", "life")).stdout).toContain("more");
  await r2("bucket", "lifecycle", "remove", "life", "--name", "old");
  const { rules } = (await call("/life/lifecycle")).result;
  expect(rules.map(({ id }: { id: string }) => id)).toEqual(["more"]);
  const twice = { rules: [rule, rule] };
  expect((await call("/life/lifecycle", send("PUT", twice))).errors[0]?.code).toBe(10040);
});

it("shows a worker what the API wrote, and the API what a worker wrote, at once", async () => {
  await createBucket("shared");
  const main = join(project, "worker.js");
  await writeFile(
    main,
    `export default {
      async fetch(request, env) {
        const key = new URL(request.url).pathname.slice(1);
        if (request.method === "PUT") await env.R2.put(key, request.body);
        return new Response((await env.R2.get(key))?.body, { status: 200 });
      },
    };`,
  );
  const r2_buckets = [{ binding: "R2", bucket_name: "shared" }];
  const address = await deploy(platform, { name: "r2-worker", main, r2_buckets });
  await api("/shared/objects/key", put("from the API"));
  expect(await (await fetchWorker(`${address}/key`)).text()).toBe("from the API");
  await fetchWorker(`${address}/key`, put("from a worker"));
  expect(await (await api("/shared/objects/key")).text()).toBe("from a worker");

  // A bucket of the same name is another one, for the worker too.
  await api("/shared/objects/key", { method: "DELETE" });
  expect((await api("/shared", { method: "DELETE" })).status).toBe(200);
  expect((await fetchWorker(`${address}/key`)).status).toBe(500);
  await createBucket("shared");
  await api("/shared/objects/key", put("new"));
  expect(await (await fetchWorker(`${address}/key`)).text()).toBe("new");
});

it("refuses what is not built, by name", async () => {
  await createBucket("plain");
  expect(await refused("bucket", "lock", "list", "plain")).toContain("lock");
  expect(await refused("bucket", "domain", "list", "plain")).toContain("domains");
  expect(await refused("bucket", "dev-url", "get", "plain")).toContain("domains");
  expect(await refused("bucket", "create", "eu-one", "-J", "eu")).toContain("cf-r2-jurisdiction");
});

it("gives a full-length key back as it was put", async () => {
  await createBucket("long");
  const key = `${"é/".repeat(340)}日z`;
  expect(Buffer.byteLength(key)).toBe(1024);
  const path = `/long/objects/${encodeURI(key)}`;
  expect((await call(path, put("long"))).errors).toEqual([]);
  expect(await (await api(path)).text()).toBe("long");
  expect((await call("/long/objects")).result).toMatchObject([{ key, custom_metadata: {} }]);
  const longer = await call(`/long/objects/${"k".repeat(1025)}`, put("x"));
  expect(longer.errors[0]?.code).toBe(10020);
});

it("keeps a bucket from other accounts", async () => {
  await createBucket("mine");
  await api("/mine/objects/key", put("mine"));
  const other = `/accounts/${"f".repeat(32)}/r2/buckets/mine/objects/key`;
  expect((await platform.fetchApi(other)).status).toBe(404);
});
