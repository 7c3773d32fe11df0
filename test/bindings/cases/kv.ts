import { deepEqual, equal, ok, rejects } from "../assert.ts";
import type { Case, CaseEnv, Differences } from "../case.ts";

// Cases share one namespace, so each has keys of its own, by a prefix.

const MIB = 1024 * 1024;
const MAX_VALUE_BYTES = 25 * MIB;

// What TypeScript would refuse is passed as this, on purpose.
const wrong = <T>(value: unknown): T => value as T;

const failed = (method: string, position: number, type: string): string =>
  `Failed to execute '${method}' on 'KvNamespace': parameter ${position} is not of type '${type}'.`;

const tooLong = (method: string): string =>
  `KV ${method} failed: 414 UTF-8 encoded length of 513 exceeds key length limit of 512.`;

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

async function putAll(kv: KVNamespace, prefix: string, count: number): Promise<string[]> {
  const keys = Array.from({ length: count }, (_, at) => prefix + String(at).padStart(4, "0"));
  for (let at = 0; at < count; at += 50) {
    await Promise.all(keys.slice(at, at + 50).map((key) => kv.put(key, `value of ${key}`)));
  }
  return keys;
}

async function listAll(kv: KVNamespace, options: KVNamespaceListOptions): Promise<string[]> {
  const names: string[] = [];
  for (let cursor: string | null = null; ;) {
    const page: KVNamespaceListResult<unknown> = await kv.list({ ...options, cursor });
    names.push(...page.keys.map(({ name }) => name));
    if (page.list_complete) return names;
    ok(page.cursor);
    ({ cursor } = page);
  }
}

/** Puts and gets a key, finds it in a listing, and deletes it. */
async function roundTrip({ KV }: CaseEnv, key: string, prefix: string): Promise<void> {
  await KV.put(key, "there", { metadata: { of: "key" } });
  equal(await KV.get(key), "there");
  const { keys } = await KV.list({ prefix });
  deepEqual(keys, [{ name: key, metadata: { of: "key" } }]);
  deepEqual(await KV.getWithMetadata(key), {
    value: "there",
    metadata: { of: "key" },
    cacheStatus: null,
  });
  await KV.delete(key);
  equal(await KV.get(key), null);
}

const values: Record<string, Case> = {
  async "a value comes back as text, json, arrayBuffer and stream"({ KV }) {
    const json = '{"a":[1]}';
    await KV.put("types", json);
    equal(await KV.get("types"), json);
    equal(await KV.get("types", {}), json);
    equal(await KV.get("types", "text"), json);
    deepEqual(await KV.get("types", "json"), { a: [1] });
    deepEqual(await KV.get("types", { type: "json" }), { a: [1] });
    const buffer = await KV.get("types", "arrayBuffer");
    ok(buffer instanceof ArrayBuffer);
    equal(buffer.byteLength, json.length);
    const stream = await KV.get("types", "stream");
    ok(stream instanceof ReadableStream);
    equal(await new Response(stream).text(), json);
  },

  async "a missing value is null in every type"({ KV }) {
    equal(await KV.get("missing"), null);
    equal(await KV.get("missing", "json"), null);
    equal(await KV.get("missing", "arrayBuffer"), null);
    equal(await KV.get("missing", "stream"), null);
    const nothing = { value: null, metadata: null, cacheStatus: null };
    deepEqual(await KV.getWithMetadata("missing"), nothing);
  },

  async "strings, buffers, views and streams can be put"({ KV }) {
    const bytes = bytesOf("xhellox");
    const scripted = new ReadableStream<Uint8Array>({
      start(controller): void {
        controller.enqueue(bytesOf("hel"));
        controller.enqueue(bytesOf("lo"));
        controller.close();
      },
    });
    const puts: [string, string | ArrayBuffer | ArrayBufferView | ReadableStream][] = [
      ["string", "hello"],
      ["buffer", bytesOf("hello").buffer as ArrayBuffer],
      ["view of a part", bytes.subarray(1, 6)],
      ["DataView", new DataView(bytes.buffer, 1, 5)],
      ["response body", wrong(new Response("hello").body)],
      ["blob stream", new Blob(["hello"]).stream()],
      ["JavaScript stream", scripted],
    ];
    for (const [key, value] of puts) {
      await KV.put(`put/${key}`, value);
      equal(await KV.get(`put/${key}`), "hello");
    }
  },

  async "other values become strings, objects are refused"({ KV }) {
    for (const value of [12, true, null, undefined]) {
      await KV.put("odd", wrong(value));
      equal(await KV.get("odd"), `${value}`);
    }
    const message =
      "KV put() accepts only strings, ArrayBuffers, ArrayBufferViews, and ReadableStreams as values.";
    for (const value of [{}, [1], new Date(), new Blob(["x"]), (): void => {}]) {
      await rejects(() => KV.put("odd", wrong(value)), "TypeError", message);
    }
  },

  async "an empty value is not a missing one"({ KV }) {
    await KV.put("empty", "");
    equal(await KV.get("empty"), "");
    equal((await KV.get("empty", "arrayBuffer"))?.byteLength, 0);
  },

  async "a put overwrites value, metadata and expiration"({ KV }) {
    await KV.put("over", "one", { metadata: 1, expirationTtl: 600 });
    await KV.put("over", "two");
    deepEqual(await KV.getWithMetadata("over"), {
      value: "two",
      metadata: null,
      cacheStatus: null,
    });
    deepEqual((await KV.list({ prefix: "over" })).keys, [{ name: "over" }]);
  },

  async "a deleted value is gone, deleting a missing one is no error"({ KV }) {
    await KV.put("gone", "x");
    await KV.delete("gone");
    await KV.delete("gone");
    equal(await KV.get("gone"), null);
  },

  async "bytes that are not UTF-8 come back as they are"({ KV }) {
    const bytes = Uint8Array.from({ length: 256 }, (_, at) => at);
    await KV.put("bytes", bytes);
    deepEqual(await KV.get("bytes", "arrayBuffer"), bytes.buffer);
    equal((await KV.get("bytes"))?.at(-1), "\ufffd");
  },

  async "a byte order mark stays in the text"({ KV }) {
    await KV.put("bom", "\ufeffx");
    equal(await KV.get("bom"), "\ufeffx");
  },

  async "json of text that is none is a SyntaxError"({ KV }) {
    await KV.put("not json", "{");
    await rejects(() => KV.get("not json", "json"), "SyntaxError", /JSON/);
    await KV.put("not json", "");
    await rejects(() => KV.get("not json", "json"), "SyntaxError", /JSON/);
  },

  async "a type that is none is a TypeError"({ KV }) {
    await KV.put("type", "x");
    const message =
      'Unknown response type. Possible types are "text", "arrayBuffer", "json", and "stream".';
    await rejects(() => KV.get("type", wrong("blob")), "TypeError", message);
    await rejects(() => KV.get("type", wrong({ type: "blob" })), "TypeError", message);
  },

  async "25 MiB fit, as string, bytes and stream"({ KV }) {
    const bytes = new Uint8Array(MAX_VALUE_BYTES).fill(0x78);
    await KV.put("big", new TextDecoder().decode(bytes));
    equal((await KV.get("big"))?.length, MAX_VALUE_BYTES);
    await KV.put("big", bytes);
    equal((await KV.get("big", "arrayBuffer"))?.byteLength, MAX_VALUE_BYTES);
    await KV.put("big", new Blob([bytes]).stream());
    let length = 0;
    const stream: ReadableStream<Uint8Array> | null = await KV.get("big", "stream");
    ok(stream);
    for await (const chunk of stream) length += chunk.byteLength;
    equal(length, MAX_VALUE_BYTES);
    await KV.delete("big");
  },

  async "one byte more does not"({ KV }) {
    const message = /^KV PUT failed: 413 Value length of 26214401 exceeds limit of 26214400\.$/;
    const bytes = new Uint8Array(MAX_VALUE_BYTES + 1);
    await rejects(() => KV.put("bigger", bytes), "Error", message);
    await rejects(() => KV.put("bigger", new Blob([bytes]).stream()), "Error", message);
    await rejects(() => KV.put("bigger", "x".repeat(MAX_VALUE_BYTES + 1)), "Error", message);
    equal(await KV.get("bigger"), null);
  },

  async "cacheTtl is taken from 30 seconds on"({ KV }) {
    await KV.put("cached", "x");
    equal(await KV.get("cached", { cacheTtl: 30 }), "x");
    await rejects(
      () => KV.get("cached", { cacheTtl: 29 }),
      "Error",
      "KV GET failed: 400 Invalid cache_ttl of 29. Cache TTL must be at least 30.",
    );
  },

  async "a write is seen at once"({ KV }) {
    for (let at = 0; at < 20; at++) {
      await KV.put("fresh", `${at}`);
      equal(await KV.get("fresh"), `${at}`);
    }
  },

  async "many reads and writes at once"({ KV }) {
    const keys = Array.from({ length: 100 }, (_, at) => `at once/${at}`);
    await Promise.all(keys.map((key) => KV.put(key, key)));
    deepEqual(await Promise.all(keys.map((key) => KV.get(key))), keys);
  },
};

const keys: Record<string, Case> = {
  async "a key of 512 bytes"(env) {
    await roundTrip(env, "k".repeat(512), "k".repeat(400));
  },

  async "a key of 512 bytes that are two to a character, and one of four"(env) {
    await roundTrip(env, "é".repeat(256), "é".repeat(200));
    await roundTrip(env, "😀".repeat(128), "😀".repeat(120));
  },

  async "keys that differ only at their end"({ KV }) {
    const long = "l".repeat(511);
    const all = ["a", "b", "c"].map((end) => long + end);
    await Promise.all(all.map((key) => KV.put(key, key)));
    deepEqual(await Promise.all(all.map((key) => KV.get(key))), all);
    deepEqual((await listAll(KV, { prefix: long })).sort(), all);
    deepEqual(await listAll(KV, { prefix: `${long}b` }), [`${long}b`]);
    deepEqual(
      [...(await KV.get(all)).entries()].sort(),
      all.map((key) => [key, key]),
    );
  },

  async "keys of every length around the longest"({ KV }) {
    for (let length = 460; length <= 512; length++) {
      const key = "n".repeat(length - 1) + "z";
      await KV.put(key, key, { metadata: { length } });
      const found = await KV.getWithMetadata(key);
      deepEqual([found.value, found.metadata], [key, { length }]);
    }
    const names = await listAll(KV, { prefix: "nnnn" });
    deepEqual(
      names.map(({ length }) => length).sort(),
      Array.from({ length: 53 }, (_, at) => 460 + at),
    );
  },

  async "a key of 513 bytes is too long"({ KV }) {
    const key = "k".repeat(513);
    await rejects(() => KV.get(key), "Error", tooLong("GET"));
    await rejects(() => KV.put(key, "x"), "Error", tooLong("PUT"));
    await rejects(() => KV.delete(key), "Error", tooLong("DELETE"));
    await rejects(() => KV.get([key]), "Error", tooLong("GET_BULK"));
    await rejects(() => KV.list({ prefix: key }), "Error", tooLong("GET"));
  },

  async "an empty key is none"({ KV }) {
    const message = "Key name cannot be empty.";
    await rejects(() => KV.get(""), "TypeError", message);
    await rejects(() => KV.put("", "x"), "TypeError", message);
    await rejects(() => KV.delete(""), "TypeError", message);
  },

  async "dots alone are no keys"({ KV }) {
    for (const key of [".", ".."]) {
      const message = `"${key}" is not allowed as a key name.`;
      await rejects(() => KV.get(key), "TypeError", message);
      await rejects(() => KV.put(key, "x"), "TypeError", message);
      await rejects(() => KV.delete(key), "TypeError", message);
    }
    await KV.put("...", "x");
    equal(await KV.get("..."), "x");
  },

  async "odd characters in keys"(env) {
    for (const odd of [
      " ",
      "/",
      "//",
      "%",
      "%2F",
      "?",
      "#",
      "&=+",
      "\\",
      "\n\t",
      '"',
      "é日😀",
      ":",
    ]) {
      await roundTrip(env, `odd/${odd}`, "odd/");
      await roundTrip(env, `${odd}odd`, `${odd}odd`);
    }
  },

  async "a NUL within a key"({ KV }) {
    await KV.put("nul\0a", "a");
    await KV.put("nul\0b", "b");
    equal(await KV.get("nul\0a"), "a");
    deepEqual(await listAll(KV, { prefix: "nul" }), ["nul\0a", "nul\0b"]);
  },

  async "a prefix with a NUL"({ KV }) {
    await KV.put("nulled\0a", "a");
    await KV.put("nulled", "b");
    deepEqual(await listAll(KV, { prefix: "nulled\0" }), ["nulled\0a"]);
  },

  async "half a surrogate pair is no key"({ KV }) {
    await rejects(() => KV.put("half\ud800", "x"), "Error", /^KV PUT failed: 400 /);
  },

  async "names of JavaScript's own are keys like others"(env) {
    for (const key of ["__proto__", "constructor", "toString", "then"]) {
      await roundTrip(env, key, key);
    }
  },

  async "a key that is no string becomes one"({ KV }) {
    await KV.put(wrong(12), "twelve");
    equal(await KV.get("12"), "twelve");
    equal(await KV.get(wrong(12)), "twelve");
    equal(await KV.get(wrong({})), null);
  },

  async "missing arguments are TypeErrors"({ KV }) {
    const kv = wrong<Record<string, (...args: unknown[]) => Promise<unknown>>>(KV);
    await rejects(() => kv["get"]?.(), "TypeError", failed("get", 1, "string or Array"));
    await rejects(() => kv["put"]?.(), "TypeError", failed("put", 1, "string"));
    await rejects(() => kv["put"]?.("a"), "TypeError", failed("put", 2, "string or Object"));
    await rejects(() => kv["delete"]?.(), "TypeError", failed("delete", 1, "string"));
    await rejects(() => kv["put"]?.("a", "b", "c"), "TypeError", failed("put", 3, "PutOptions"));
    await rejects(() => kv["list"]?.("a"), "TypeError", failed("list", 1, "ListOptions"));
    await kv["put"]?.("null options", "x", null);
    equal(await kv["get"]?.("null options", null), "x");
  },
};

const metadata: Record<string, Case> = {
  async "metadata of every JSON type comes back"({ KV }) {
    for (const metadata of [{ a: { b: ["é日\u0000😀"] } }, [1, null], "text", 0, false, ""]) {
      await KV.put("metadata", "x", { metadata });
      const found = await KV.getWithMetadata("metadata", "arrayBuffer");
      deepEqual(found.metadata, metadata);
      deepEqual((await KV.list({ prefix: "metadata" })).keys[0]?.metadata, metadata);
    }
    for (const metadata of [null, undefined]) {
      await KV.put("metadata", "x", { metadata });
      equal((await KV.getWithMetadata("metadata")).metadata, null);
    }
  },

  async "metadata is what JSON makes of it"({ KV }) {
    await KV.put("json", "x", { metadata: { date: new Date(0), none: undefined, nan: NaN } });
    deepEqual((await KV.getWithMetadata("json")).metadata, {
      date: "1970-01-01T00:00:00.000Z",
      nan: null,
    });
    await rejects(() => KV.put("json", "x", { metadata: 1n }), "TypeError", /BigInt/);
  },

  async "1,024 bytes of metadata fit, one more does not"({ KV }) {
    const metadata = "m".repeat(1022);
    await KV.put("much", "x", { metadata });
    equal((await KV.getWithMetadata("much")).metadata, metadata);
    await rejects(
      () => KV.put("much", "x", { metadata: `${metadata}m` }),
      "Error",
      "KV PUT failed: 413 Metadata length of 1025 exceeds limit of 1024.",
    );
  },

  async "1,024 bytes of metadata fit a key of 512 bytes"({ KV }) {
    const key = "f".repeat(512);
    const metadata = "m".repeat(1022);
    await KV.put(key, "x", { metadata });
    equal((await KV.getWithMetadata(key)).metadata, metadata);
  },
};

const expiration: Record<string, Case> = {
  async "expirations are listed, in whole seconds"({ KV }) {
    const now = Math.floor(Date.now() / 1000);
    await KV.put("expires/a", "x", { expiration: now + 3600 });
    await KV.put("expires/b", "x", { expirationTtl: 7200 });
    await KV.put("expires/c", "x", { expirationTtl: 7200.9 });
    const { keys } = await KV.list({ prefix: "expires/" });
    equal(keys[0]?.expiration, now + 3600);
    for (const key of [1, 2]) {
      const at = keys[key]?.expiration ?? 0;
      ok(at >= now + 7200 && at <= now + 7205, `expires at ${at}, now is ${now}`);
    }
  },

  async "expirations are at least 60 seconds ahead"({ KV }) {
    const now = Math.floor(Date.now() / 1000);
    await KV.put("soon", "x", { expirationTtl: 60 });
    const wrongOnes: [KVNamespacePutOptions, RegExp][] = [
      [{ expirationTtl: 59 }, /Invalid expiration_ttl of 59\. .* must be at least 60/],
      [{ expirationTtl: 0 }, /Invalid expiration_ttl of 0\. .* greater than 0/],
      [{ expirationTtl: -1 }, /Invalid expiration_ttl of -1\. .* greater than 0/],
      [{ expirationTtl: wrong("soon") }, /Invalid expiration_ttl of 0\./],
      [{ expiration: now - 1 }, /Invalid expiration of .* greater than the current number/],
      [{ expiration: now + 30 }, /must be at least 60 seconds in the future/],
    ];
    for (const [options, message] of wrongOnes) {
      await rejects(() => KV.put("soon", "x", options), "Error", message);
    }
  },
};

const lists: Record<string, Case> = {
  async "keys are listed in order, page by page"({ KV }) {
    const all = await putAll(KV, "page/", 25);
    const first = await KV.list({ prefix: "page/", limit: 10 });
    equal(first.keys.length, 10);
    equal(first.list_complete, false);
    deepEqual(await listAll(KV, { prefix: "page/", limit: 10 }), all);
    deepEqual(await listAll(KV, { prefix: "page/", limit: 25 }), all);
    const whole = await KV.list({ prefix: "page/" });
    equal(whole.list_complete, true);
    equal("cursor" in whole, false);
    equal(whole.cacheStatus, null);
  },

  async "keys are ordered by their bytes"({ KV }) {
    const sorted = ["A", "Z", "a", "é", "日", "\uffee", "😀"];
    for (const name of sorted.toReversed()) await KV.put(`order/${name}`, "x");
    deepEqual(
      await listAll(KV, { prefix: "order/", limit: 2 }),
      sorted.map((name) => `order/${name}`),
    );
  },

  async "a thousand keys a page, no more"({ KV }) {
    const all = await putAll(KV, "thousand/", 1001);
    const page = await KV.list({ prefix: "thousand/" });
    equal(page.keys.length, 1000);
    equal(page.list_complete, false);
    deepEqual(await listAll(KV, { prefix: "thousand/" }), all);
    await rejects(
      () => KV.list({ limit: 1001 }),
      "Error",
      /^KV GET failed: 400 Invalid key_count_limit of 1001\. /,
    );
    for (const limit of [0, -1, wrong<number>("many")]) {
      equal((await KV.list({ prefix: "thousand/", limit })).keys.length, 1000);
    }
  },

  async "a prefix is no pattern"({ KV }) {
    for (const key of ["%_%a", "%_%b", "x_xa", "%5f%25"]) await KV.put(`like/${key}`, "x");
    deepEqual(await listAll(KV, { prefix: "like/%_%" }), ["like/%_%a", "like/%_%b"]);
    deepEqual(await listAll(KV, { prefix: "LIKE/" }), []);
    deepEqual(await listAll(KV, { prefix: null, cursor: null, limit: 1000 }).then(() => 1), 1);
  },

  async "a cursor that nobody gave lists no more than the prefix"({ KV }) {
    await KV.put("forged/a", "x");
    for (const cursor of ["!!!", "", btoa("forged"), btoa(""), "MToxMg=="]) {
      const { keys } = await KV.list({ prefix: "forged/", cursor });
      for (const { name } of keys) equal(name, "forged/a");
    }
  },
};

const bulk: Record<string, Case> = {
  async "several keys come back as a Map"({ KV }) {
    await KV.put("several/a", "1");
    await KV.put("several/b", "2", { metadata: { b: true } });
    const keys = ["several/b", "several/none", "several/a"];
    const texts = await KV.get(keys);
    ok(texts instanceof Map);
    deepEqual([...texts].sort(), [
      ["several/a", "1"],
      ["several/b", "2"],
      ["several/none", null],
    ]);
    deepEqual((await KV.get(keys, "json")).get("several/b"), 2);
    deepEqual((await KV.get(keys, { type: "text" })).get("several/b"), "2");
    const found: Map<string, unknown> = await KV.getWithMetadata(keys);
    deepEqual(found.get("several/b"), { value: "2", metadata: { b: true } });
    deepEqual(found.get("several/a"), { value: "1", metadata: null });
    equal(found.get("several/none"), null);
  },

  async "one to a hundred keys at once"({ KV }) {
    const keys = await putAll(KV, "hundred/", 100);
    const found = await KV.get(keys);
    equal(found.size, 100);
    for (const key of keys) equal(found.get(key), `value of ${key}`);
    await rejects(
      () => KV.get([...keys, "one more"]),
      "Error",
      "KV GET_BULK failed: 400 You can request a maximum of 100 keys",
    );
    await rejects(
      () => KV.get([]),
      "Error",
      "KV GET_BULK failed: 400 You must request a minimum of 1 key",
    );
  },

  async "several keys come as text or json only, and all must be"({ KV }) {
    await KV.put("strict/a", "x");
    await rejects(
      () => KV.get(["strict/a"], wrong("stream")),
      "Error",
      'KV GET_BULK failed: 400 "stream" is not a valid type. Use "json" or "text"',
    );
    await rejects(
      () => KV.get(["strict/a"], "json"),
      "Error",
      "KV GET_BULK failed: 400 At least one of the requested keys corresponds to a non-json value",
    );
    await rejects(() => KV.get(["strict/a", ""]), "Error", /Key names must not be empty/);
    await rejects(() => KV.get(["."]), "Error", /Illegal key name "\."/);
  },

  async "several keys may look like numbers"({ KV }) {
    await KV.put("17", "seventeen");
    equal((await KV.get(["17"])).get("17"), "seventeen");
  },
};

const shape: Record<string, Case> = {
  async "it is a KvNamespace to look at"({ KV }) {
    equal(Object.prototype.toString.call(KV), "[object KvNamespace]");
    deepEqual(Object.keys(KV), []);
    for (const method of ["get", "getWithMetadata", "put", "delete", "list"] as const) {
      equal(typeof KV[method], "function");
      equal(Object.hasOwn(KV, method), false);
    }
    equal("then" in KV, false);
  },

  async "an error of a stream that is put is the put's"({ KV }) {
    const failing = new ReadableStream({
      start(controller): void {
        controller.error(new RangeError("broken"));
      },
    });
    await rejects(() => KV.put("failing", failing), "RangeError", "broken");
  },

  async "a stream that is used already cannot be put"({ KV }) {
    const { body } = new Response("x");
    ok(body);
    await new Response(body).text();
    await rejects(() => KV.put("used", body), "TypeError", /locked|disturbed/);
  },
};

export const cases: Record<string, Case> = {
  ...values,
  ...keys,
  ...metadata,
  ...expiration,
  ...lists,
  ...bulk,
  ...shape,
};

export const differences: Differences = {
  "a prefix with a NUL": {
    on: "miniflare",
    why: "Miniflare ends a prefix at a NUL and finds nothing",
  },
  "several keys may look like numbers": {
    on: "miniflare",
    why: "the runtime leaves keys that look like array indexes out of the Map",
  },
  "1,024 bytes of metadata fit a key of 512 bytes": {
    on: "mayfly",
    why: "the end of a key that is too long with the namespace's prefix is kept in its metadata",
  },
  "an error of a stream that is put is the put's": {
    on: "mayfly",
    why: "errors of streams do not cross calls between isolates",
  },
};
