import { deepEqual, equal, ok, rejects } from "../assert.ts";
import type { Case, CaseEnv, Differences } from "../case.ts";

// Cases share one bucket, so each has keys of its own, by a prefix.

const MIB = 1024 * 1024;
const MIN_PART_BYTES = 5 * MIB;

// What TypeScript would refuse is passed as this, on purpose.
const wrong = <T>(value: unknown): T => value as T;

const bytesOf = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(new TextEncoder().encode(text));

const filled = (length: number, seed = 0): Uint8Array<ArrayBuffer> =>
  new Uint8Array(length).map((_, at) => (at + seed) % 251);

const hexOf = (bytes: ArrayBuffer): string =>
  Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");

const digest = (name: string, text: string): Promise<ArrayBuffer> =>
  crypto.subtle.digest(name, bytesOf(text));

const failed = (method: string, owner: string, position: number, type: string): string =>
  `Failed to execute '${method}' on '${owner}': parameter ${position} is not of type '${type}'.`;

const badName = (action: string): string =>
  `${action}: The specified object name is not valid. (10020)`;

const VALUE_TYPES = "JsReadableStream or ArrayBuffer or ArrayBufferView or string or Blob";
const NOT_SATISFIABLE = "get: The requested range is not satisfiable (10039)";
const NO_UPLOAD = "uploadPart: The specified multipart upload does not exist. (10024)";

async function text(bucket: R2Bucket, key: string, options?: R2GetOptions): Promise<string> {
  const object = await bucket.get(key, options);
  ok(object, `${key} is missing`);
  return object.text();
}

async function keysOf(bucket: R2Bucket, options: R2ListOptions): Promise<string[]> {
  const keys: string[] = [];
  let cursor: string | undefined;
  do {
    const page: R2Objects = await bucket.list({ ...options, ...(cursor && { cursor }) });
    keys.push(...page.objects.map(({ key }) => key));
    cursor = page.truncated ? page.cursor : undefined;
  } while (cursor);
  return keys;
}

async function putAll(bucket: R2Bucket, keys: string[]): Promise<void> {
  for (let at = 0; at < keys.length; at += 50) {
    await Promise.all(keys.slice(at, at + 50).map((key) => bucket.put(key, key)));
  }
}

/** Puts, gets, lists and deletes a key. */
async function roundTrip({ R2 }: CaseEnv, key: string, prefix: string): Promise<void> {
  const put = await R2.put(key, "there", { customMetadata: { of: "key" } });
  equal(put?.key, key);
  deepEqual(put?.customMetadata, { of: "key" });
  const got = await R2.get(key);
  equal(got?.key, key);
  deepEqual(got?.customMetadata, { of: "key" });
  equal(await got?.text(), "there");
  equal((await R2.head(key))?.key, key);
  deepEqual(await keysOf(R2, { prefix }), [key]);
  await R2.delete(key);
  equal(await R2.head(key), null);
}

const objects: Record<string, Case> = {
  async "an object comes back with what is known of it"({ R2 }) {
    const before = Date.now();
    const put = await R2.put("whole", "hello", {
      httpMetadata: { contentType: "text/x" },
      customMetadata: { a: "1" },
    });
    ok(put);
    const md5 = "5d41402abc4b2a76b9719d911017c592";
    const got = await R2.get("whole");
    const head = await R2.head("whole");
    ok(got && head);
    for (const object of [put, got, head]) {
      equal(object.key, "whole");
      equal(object.size, 5);
      equal(object.etag, md5);
      equal(object.httpEtag, `"${md5}"`);
      equal(object.version, put.version);
      ok(object.version.length > 0);
      ok(object.uploaded instanceof Date);
      ok(Math.abs(object.uploaded.getTime() - before) < 60_000);
      deepEqual(object.httpMetadata, { contentType: "text/x" });
      deepEqual(object.customMetadata, { a: "1" });
      equal(hexOf(object.checksums.md5 ?? new ArrayBuffer()), md5);
      deepEqual(object.checksums.toJSON(), { md5 });
      equal(object.ssecKeyMd5, undefined);
    }
    deepEqual(got.range, { offset: 0, length: 5 });
    equal(await got.text(), "hello");
  },

  async "an object can be made JSON of"({ R2 }) {
    await R2.put("json", "hello");
    const object = await R2.get("json");
    ok(object);
    const { key, etag, httpEtag, size, version } = object;
    const json = JSON.parse(JSON.stringify(object)) as Record<string, unknown>;
    deepEqual(
      { ...json, storageClass: "" },
      {
        key,
        etag,
        httpEtag,
        size,
        version,
        uploaded: object.uploaded.toISOString(),
        checksums: { md5: etag },
        httpMetadata: {},
        customMetadata: {},
        range: { offset: 0, length: 5 },
        storageClass: "",
      },
    );
    equal("body" in object && Object.hasOwn(object, "body"), false);
    await object.text();
  },

  async "a body can be read in every way, once"({ R2 }) {
    await R2.put("body", '{"a":1}', { httpMetadata: { contentType: "application/x" } });
    const get = async (): Promise<R2ObjectBody> => {
      const object = await R2.get("body");
      ok(object);
      return object;
    };
    equal(await (await get()).text(), '{"a":1}');
    deepEqual(await (await get()).json(), { a: 1 });
    deepEqual(await (await get()).arrayBuffer(), bytesOf('{"a":1}').buffer);
    deepEqual(await (await get()).bytes(), bytesOf('{"a":1}'));
    const blob = await (await get()).blob();
    equal(blob.type, "application/x");
    equal(await blob.text(), '{"a":1}');
    const object = await get();
    ok(object.body instanceof ReadableStream);
    equal(object.body, object.body);
    equal(object.bodyUsed, false);
    equal(await new Response(object.body).text(), '{"a":1}');
    equal(object.bodyUsed, true);
    await rejects(() => object.text(), "TypeError", /Body has already been used/);
    await R2.put("body", "{");
    await rejects(async () => (await get()).json(), "SyntaxError", /JSON/);
  },

  async "a missing object is null"({ R2 }) {
    equal(await R2.get("missing"), null);
    equal(await R2.head("missing"), null);
    equal(await R2.get("missing", { onlyIf: { etagMatches: "x" }, range: { offset: 9 } }), null);
    await R2.delete("missing");
  },

  async "strings, buffers, views, blobs, streams and null can be put"({ R2 }) {
    const bytes = bytesOf("xhellox");
    const fixed = new FixedLengthStream(5);
    const writer = fixed.writable.getWriter();
    void writer.write(bytesOf("hello")).then(() => writer.close());
    const puts: [string, Parameters<R2Bucket["put"]>[1]][] = [
      ["string", "hello"],
      ["buffer", bytesOf("hello").buffer],
      ["view of a part", bytes.subarray(1, 6)],
      ["DataView", new DataView(bytes.buffer, 1, 5)],
      ["blob", new Blob(["hel", "lo"])],
      ["blob stream", new Blob(["hello"]).stream()],
      ["response body", new Response("hello").body],
      ["fixed length", fixed.readable],
    ];
    for (const [key, value] of puts) {
      equal((await R2.put(`put/${key}`, value))?.size, 5);
      equal(await text(R2, `put/${key}`), "hello");
    }
    for (const nothing of [null, undefined, ""]) {
      equal((await R2.put("put/null", wrong(nothing)))?.size, 0);
      equal(await text(R2, "put/null"), "");
    }
  },

  async "other values are refused"({ R2 }) {
    for (const value of [5, true, {}, [1], new Date()]) {
      await rejects(
        () => R2.put("odd", wrong(value)),
        "TypeError",
        failed("put", "R2Bucket", 2, VALUE_TYPES),
      );
    }
    equal(await R2.head("odd"), null);
  },

  async "a stream must have a known length"({ R2 }) {
    const { readable, writable } = new TransformStream();
    void writable.abort().catch(() => {});
    const message =
      "Provided readable stream must have a known length (request/response body or readable half of FixedLengthStream)";
    const scripted = new ReadableStream({
      start(controller): void {
        controller.enqueue(bytesOf("x"));
        controller.close();
      },
    });
    await rejects(() => R2.put("unknown", readable), "TypeError", message);
    await rejects(() => R2.put("unknown", scripted), "TypeError", message);
    const upload = await R2.createMultipartUpload("unknown");
    const again = new Response("x").body?.pipeThrough(new TransformStream());
    await rejects(() => upload.uploadPart(1, wrong(again)), "TypeError", message);
    await upload.abort();
  },

  async "forty megabytes go in and out as a stream"({ R2 }) {
    const bytes = filled(40_000_000);
    const { readable, writable } = new FixedLengthStream(bytes.byteLength);
    const writer = writable.getWriter();
    const writing = (async (): Promise<void> => {
      for (let at = 0; at < bytes.byteLength; at += MIB) {
        await writer.write(bytes.subarray(at, at + MIB));
      }
      await writer.close();
    })();
    equal((await R2.put("large", readable))?.size, bytes.byteLength);
    await writing;
    equal((await R2.put("large copy", bytes))?.size, bytes.byteLength);
    const object = await R2.get("large");
    ok(object);
    let at = 0;
    for await (const chunk of wrong<AsyncIterable<Uint8Array>>(object.body)) {
      equal(chunk[0], bytes[at]);
      at += chunk.byteLength;
    }
    equal(at, bytes.byteLength);
    equal((await (await R2.get("large copy"))?.arrayBuffer())?.byteLength, bytes.byteLength);
    equal(await text(R2, "large", { range: { offset: 251 * 9, length: 2 } }), "\0\u0001");
    await R2.delete(["large", "large copy"]);
  },

  async "an object is replaced as a whole"({ R2 }) {
    const first = await R2.put("replaced", "one", {
      httpMetadata: { contentType: "a/b" },
      customMetadata: { a: "1" },
    });
    const second = await R2.put("replaced", "two");
    ok(first && second && first.version !== second.version);
    const object = await R2.get("replaced");
    ok(object);
    deepEqual([object.httpMetadata, object.customMetadata], [{}, {}]);
    equal(await object.text(), "two");
  },
};

const keys: Record<string, Case> = {
  async "a key of 1,024 bytes"(env) {
    await roundTrip(env, "k".repeat(1024), "k".repeat(900));
    await roundTrip(env, "é".repeat(512), "é".repeat(500));
    await roundTrip(env, "😀".repeat(256), "😀".repeat(250));
  },

  async "keys that differ only at their end"({ R2 }) {
    const long = "l".repeat(1023);
    const all = ["a", "b", "c"].map((end) => long + end);
    await putAll(R2, all);
    for (const key of all) equal(await text(R2, key), key);
    deepEqual((await keysOf(R2, { prefix: long, limit: 2 })).sort(), all);
    deepEqual(await keysOf(R2, { prefix: `${long}b` }), [`${long}b`]);
    await R2.delete(all);
    deepEqual(await keysOf(R2, { prefix: long }), []);
  },

  async "keys of every length around the longest"({ R2 }) {
    const all = Array.from({ length: 60 }, (_, at) => `${"n".repeat(964 + at)}z`);
    for (const key of all) await R2.put(key, key, { customMetadata: { a: "b" } });
    for (const key of all) equal(await text(R2, key), key);
    const { objects } = await R2.list({ prefix: "nnnn", include: ["customMetadata"] });
    deepEqual(objects.map(({ key }) => key).sort(), all.toSorted());
    for (const { customMetadata } of objects) deepEqual(customMetadata, { a: "b" });
    await R2.delete(all);
  },

  async "a long key is grouped by a delimiter"({ R2 }) {
    const folder = "g".repeat(1000);
    await putAll(R2, [`${folder}/1`, `${folder}/2/${"x".repeat(20)}`]);
    const listed = await R2.list({ prefix: "gggg", delimiter: "/" });
    deepEqual(listed.objects, []);
    deepEqual(listed.delimitedPrefixes, [`${folder}/`]);
  },

  async "a key of 1,025 bytes is not valid"({ R2 }) {
    const key = "k".repeat(1025);
    await rejects(() => R2.get(key), "Error", badName("get"));
    await rejects(() => R2.head(key), "Error", badName("head"));
    await rejects(() => R2.put(key, "x"), "Error", badName("put"));
    await rejects(() => R2.delete(key), "Error", badName("delete"));
    await rejects(() => R2.createMultipartUpload(key), "Error", badName("createMultipartUpload"));
  },

  async "odd characters in keys"(env) {
    const all = [" ", "/", "//", ".", "..", "%", "%2F", "?", "#", "\\", "\n", '"', "é日😀", ":"];
    for (const odd of all) {
      await roundTrip(env, `odd/${odd}`, "odd/");
      await roundTrip(env, `${odd}odd`, `${odd}odd`);
    }
    for (const key of ["__proto__", "constructor", "then"]) await roundTrip(env, key, key);
  },

  async "a NUL within a key"({ R2 }) {
    await putAll(R2, ["nul\0a", "nul\0b"]);
    equal(await text(R2, "nul\0a"), "nul\0a");
    deepEqual(await keysOf(R2, { prefix: "nul" }), ["nul\0a", "nul\0b"]);
  },

  async "a prefix with a NUL"({ R2 }) {
    await putAll(R2, ["nulled", "nulled\0a", "nulled\0b/c"]);
    deepEqual(await keysOf(R2, { prefix: "nulled\0" }), ["nulled\0a", "nulled\0b/c"]);
    const grouped = await R2.list({ prefix: "nulled\0", delimiter: "/" });
    deepEqual(grouped.delimitedPrefixes, ["nulled\0b/"]);
  },

  async "a key that is no string becomes one"({ R2 }) {
    await R2.put(wrong(12), "twelve");
    equal(await text(R2, "12"), "twelve");
    equal(await text(R2, wrong(12)), "twelve");
  },

  async "missing arguments are TypeErrors"({ R2 }) {
    const r2 = wrong<Record<string, (...args: unknown[]) => Promise<unknown>>>(R2);
    for (const method of ["get", "head", "put", "createMultipartUpload"]) {
      const message = failed(method, "R2Bucket", 1, "string");
      await rejects(() => r2[method]?.(), "TypeError", message);
    }
    const put = failed("put", "R2Bucket", 2, VALUE_TYPES);
    await rejects(() => r2["put"]?.("a"), "TypeError", put);
    const remove = failed("delete", "R2Bucket", 1, "string or Array");
    await rejects(() => r2["delete"]?.(), "TypeError", remove);
    const resume = failed("resumeMultipartUpload", "R2Bucket", 2, "string");
    await rejects(() => r2["resumeMultipartUpload"]?.("a"), "TypeError", resume);
    const options = failed("get", "R2Bucket", 2, "GetOptions");
    await rejects(() => r2["get"]?.("a", "b"), "TypeError", options);
    equal(await r2["get"]?.("missing", null), null);
  },
};

const conditions: Record<string, Case> = {
  async "get with a condition that does not hold gives no body"({ R2 }) {
    const put = await R2.put("if", "hello");
    ok(put);
    const { etag, uploaded } = put;
    const earlier = new Date(uploaded.getTime() - 10_000);
    const later = new Date(uploaded.getTime() + 10_000);
    const holds: (R2Conditional | Headers)[] = [
      { etagMatches: etag },
      { etagMatches: "*" },
      { etagDoesNotMatch: "other" },
      { uploadedBefore: later },
      { uploadedAfter: earlier },
      { etagMatches: etag, uploadedAfter: earlier },
      { uploadedAfter: uploaded, secondsGranularity: false, etagDoesNotMatch: "other" },
      new Headers({ "if-match": `"${etag}"` }),
      new Headers({ "if-match": `"other", "${etag}"` }),
      new Headers({ "if-match": "*" }),
      new Headers({ "if-none-match": '"other", W/"another"' }),
      new Headers({ "if-modified-since": earlier.toUTCString() }),
      new Headers({ "if-unmodified-since": later.toUTCString() }),
    ];
    for (const onlyIf of holds) {
      const object = await R2.get("if", { onlyIf });
      ok(object && "body" in object, JSON.stringify(onlyIf));
      equal(await object.text(), "hello");
    }
    const fails: (R2Conditional | Headers)[] = [
      { etagMatches: "other" },
      { etagDoesNotMatch: etag },
      { etagDoesNotMatch: "*" },
      { uploadedBefore: earlier },
      { uploadedAfter: later },
      { etagMatches: etag, uploadedAfter: later },
      { uploadedAfter: uploaded, secondsGranularity: true },
      new Headers({ "if-match": '"other"' }),
      new Headers({ "if-none-match": `W/"${etag}"` }),
      new Headers({ "if-none-match": "*" }),
      new Headers({ "if-modified-since": later.toUTCString() }),
      new Headers({ "if-unmodified-since": earlier.toUTCString() }),
    ];
    for (const onlyIf of fails) {
      const object = await R2.get("if", { onlyIf });
      ok(object && !("body" in object), JSON.stringify(onlyIf));
      equal(object.etag, etag);
      equal(object.size, 5);
    }
  },

  async "put with a condition that does not hold gives null and changes nothing"({ R2 }) {
    const first = await R2.put("put if", "one");
    ok(first);
    equal(await R2.put("put if", "two", { onlyIf: { etagMatches: "other" } }), null);
    equal(await R2.put("put if", "two", { onlyIf: new Headers({ "if-none-match": "*" }) }), null);
    equal(await text(R2, "put if"), "one");
    ok(await R2.put("put if", "two", { onlyIf: { etagMatches: first.etag } }));
    equal(await text(R2, "put if"), "two");
    equal(await R2.put("new", "x", { onlyIf: { etagMatches: "*" } }), null);
    ok(await R2.put("new", "x", { onlyIf: { etagDoesNotMatch: "*" } }));
    equal(await R2.put("new", "y", { onlyIf: { etagDoesNotMatch: "*" } }), null);
  },

  async "of two puts on the same condition one wins"({ R2 }) {
    await R2.delete("race");
    const onlyIf = { etagDoesNotMatch: "*" };
    const puts = await Promise.all(
      Array.from({ length: 8 }, (_, at) => R2.put("race", `${at}`, { onlyIf })),
    );
    equal(puts.filter((put) => put !== null).length, 1);
  },

  async "conditions that are none are refused"({ R2 }) {
    await R2.put("bad if", "x");
    const get = (onlyIf: unknown): Promise<unknown> => R2.get("bad if", wrong({ onlyIf }));
    await rejects(
      () => get({ etagMatches: '"quoted"' }),
      "TypeError",
      'Conditional ETag should not be wrapped in quotes ("quoted").',
    );
    await rejects(
      () => get(new Headers({ "if-match": "unquoted" })),
      "Error",
      "Invalid ETag in if-match header",
    );
    await rejects(
      () => get("x"),
      "TypeError",
      "Incorrect type for the 'onlyIf' field on 'GetOptions': the provided value is not of type 'Conditional or Headers'.",
    );
    await rejects(
      () => get({ uploadedBefore: "2020-01-01" }),
      "TypeError",
      "Incorrect type for the 'uploadedBefore' field on 'Conditional': the provided value is not of type 'date'.",
    );
    await rejects(() => get({ uploadedBefore: new Date("x") }), "TypeError", /not a valid Date/);
  },
};

const ranges: Record<string, Case> = {
  async "a part of an object"({ R2 }) {
    await R2.put("range", "0123456789");
    const parts: [R2Range | Headers, string, R2Range][] = [
      [{ offset: 3, length: 4 }, "3456", { offset: 3, length: 4 }],
      [{ offset: 7 }, "789", { offset: 7, length: 3 }],
      [{ length: 2 }, "01", { offset: 0, length: 2 }],
      [{ suffix: 3 }, "789", { offset: 7, length: 3 }],
      [{ suffix: 30 }, "0123456789", { offset: 0, length: 10 }],
      [{ offset: 8, length: 20 }, "89", { offset: 8, length: 2 }],
      [new Headers({ range: "bytes=3-6" }), "3456", { offset: 3, length: 4 }],
      [new Headers({ range: "bytes=7-" }), "789", { offset: 7, length: 3 }],
      [new Headers({ range: "bytes=-3" }), "789", { offset: 7, length: 3 }],
      [new Headers({ range: "bytes=0-1,4-5" }), "0123456789", { offset: 0, length: 10 }],
      [new Headers(), "0123456789", { offset: 0, length: 10 }],
    ];
    for (const [range, expected, answered] of parts) {
      const object = await R2.get("range", { range });
      ok(object);
      equal(object.size, 10);
      deepEqual(object.range, answered);
      equal(await object.text(), expected);
    }
  },

  async "a part of an object of several megabytes"({ R2 }) {
    const bytes = filled(3 * MIB);
    await R2.put("large range", bytes);
    for (const [offset, length] of [
      [0, 2 * MIB],
      [MIB + 7, 2 * MIB - 7],
      [3 * MIB - 1, 1],
    ] as const) {
      const object = await R2.get("large range", { range: { offset, length } });
      deepEqual(await object?.bytes(), bytes.subarray(offset, offset + length));
    }
  },

  async "ranges that are none are refused"({ R2 }) {
    await R2.put("bad range", "0123456789");
    const get = (range: unknown): Promise<unknown> => R2.get("bad range", wrong({ range }));
    for (const range of [{ offset: 11 }, { offset: 10 }, { length: 0 }, { suffix: 0 }]) {
      await rejects(() => get(range), "Error", NOT_SATISFIABLE);
    }
    await rejects(
      () => get({ offset: -1 }),
      "RangeError",
      "Invalid range. Starting offset (-1) must be greater than or equal to 0.",
    );
    await rejects(() => get({ length: 1.5 }), "RangeError", /must be an integer/);
    await rejects(() => get({ suffix: -2 }), "RangeError", /Invalid suffix/);
    await rejects(
      () => get({ suffix: 2, offset: 1 }),
      "TypeError",
      "Suffix is incompatible with offset.",
    );
    await rejects(
      () => get("bytes=0-1"),
      "TypeError",
      "Incorrect type for the 'range' field on 'GetOptions': the provided value is not of type 'Range or Headers'.",
    );
  },
};

const checksums: Record<string, Case> = {
  async "a checksum given as hex or bytes is checked, kept and given back"({ R2 }) {
    const algorithms = {
      md5: "MD5",
      sha1: "SHA-1",
      sha256: "SHA-256",
      sha384: "SHA-384",
      sha512: "SHA-512",
    } as const;
    for (const [field, name] of Object.entries(algorithms)) {
      const right = await digest(name, "hello");
      for (const given of [
        right,
        new Uint8Array(right),
        hexOf(right),
        hexOf(right).toUpperCase(),
      ]) {
        const put = await R2.put("checked", "hello", { [field]: given });
        ok(put);
        const head = await R2.head("checked");
        ok(head?.checksums.md5);
        equal(head.checksums.toJSON()[field as keyof typeof algorithms], hexOf(right));
      }
      const other = await digest(name, "other");
      await rejects(
        () => R2.put("unchecked", "hello", { [field]: other }),
        "Error",
        [
          `put: The ${name} checksum you specified did not match what we received.`,
          `You provided a ${name} checksum with value: ${hexOf(other)}`,
          `Actual ${name} was: ${hexOf(right)} (10037)`,
        ].join("\n"),
      );
      equal(await R2.head("unchecked"), null);
    }
  },

  async "checksums that are none are refused"({ R2 }) {
    const put = (options: unknown): Promise<unknown> => R2.put("sum", "hello", wrong(options));
    await rejects(() => put({ md5: "00" }), "TypeError", "MD5 is 32 hex characters, not 2");
    await rejects(
      () => put({ md5: "z".repeat(32) }),
      "TypeError",
      "Provided MD5 wasn't a valid hex string",
    );
    await rejects(
      () => put({ sha256: new Uint8Array(3) }),
      "TypeError",
      "SHA-256 is 32 bytes, not 3",
    );
    await rejects(
      () => put({ md5: "0".repeat(32), sha1: "0".repeat(40) }),
      "TypeError",
      "You cannot specify multiple hashing algorithms.",
    );
    await rejects(() => put({ md5: 5 }), "TypeError", /^Incorrect type for the 'md5' field/);
  },
};

const metadata: Record<string, Case> = {
  async "HTTP metadata is kept, from an object or from headers"({ R2 }) {
    const expires = new Date("2032-01-01T00:00:00Z");
    const all = {
      contentType: "text/html; charset=utf-8",
      contentLanguage: "de",
      contentDisposition: 'attachment; filename="a.html"',
      contentEncoding: "identity",
      cacheControl: "max-age=60",
      cacheExpiry: expires,
    };
    const headers = {
      "content-type": all.contentType,
      "content-language": all.contentLanguage,
      "content-disposition": all.contentDisposition,
      "content-encoding": all.contentEncoding,
      "cache-control": all.cacheControl,
      expires: expires.toUTCString(),
    };
    for (const httpMetadata of [all, new Headers({ ...headers, "x-other": "1" })]) {
      deepEqual((await R2.put("http", "x", { httpMetadata }))?.httpMetadata, all);
      const head = await R2.head("http");
      deepEqual(head?.httpMetadata, all);
      const written = new Headers({ "x-mine": "kept" });
      head?.writeHttpMetadata(written);
      deepEqual(Object.fromEntries(written), { ...headers, "x-mine": "kept" });
    }
    await rejects(
      () => R2.put("http", "x", { httpMetadata: { cacheExpiry: wrong("soon") } }),
      "TypeError",
      "Incorrect type for the 'cacheExpiry' field on 'HttpMetadata': the provided value is not of type 'date'.",
    );
    const object = await R2.head("http");
    await rejects(
      () => object?.writeHttpMetadata(wrong({})),
      "TypeError",
      failed("writeHttpMetadata", "HeadResult", 1, "Headers"),
    );
  },

  async "custom metadata is kept as text"({ R2 }) {
    const customMetadata = { a: "1", "With Space": "é日😀", empty: "" };
    await R2.put("custom", "x", { customMetadata });
    deepEqual((await R2.head("custom"))?.customMetadata, customMetadata);
    const put = await R2.put("custom", "x", { customMetadata: wrong({ n: 5, b: null }) });
    deepEqual(put?.customMetadata, { n: "5", b: "null" });
    await rejects(
      () => R2.put("custom", "x", { customMetadata: wrong("text") }),
      "TypeError",
      "Incorrect type for the 'customMetadata' field on 'PutOptions': the provided value is not of type 'object'.",
    );
  },

  async "8 KiB of custom metadata fit, one byte more does not"({ R2 }) {
    await R2.put("much", "x", { customMetadata: { a: "x".repeat(8191) } });
    equal((await R2.head("much"))?.customMetadata?.["a"]?.length, 8191);
    const customMetadata = { a: "x".repeat(8192) };
    const message = "Your metadata headers exceed the maximum allowed metadata size. (10012)";
    await rejects(() => R2.put("much", "x", { customMetadata }), "Error", `put: ${message}`);
    await rejects(
      () => R2.createMultipartUpload("much", { customMetadata }),
      "Error",
      `createMultipartUpload: ${message}`,
    );
  },

  async "8 KiB of custom metadata fit a key of 1,024 bytes"({ R2 }) {
    await R2.put("f".repeat(1024), "x", { customMetadata: { a: "x".repeat(8191) } });
  },

  async "a storage class is taken and told"({ R2 }) {
    equal((await R2.put("class", "x"))?.storageClass, "Standard");
    ok(await R2.put("class", "x", { storageClass: "InfrequentAccess" }));
    await rejects(() => R2.put("class", "x", { storageClass: "Glacier" }), "Error", /storageClass/);
  },

  async "a key for encryption is not ignored"({ R2 }) {
    const ssecKey = "0".repeat(64);
    await rejects(() => R2.put("secret", "x", { ssecKey }), "Error", /ssecKey/);
    await rejects(() => R2.get("secret", { ssecKey }), "Error", /ssecKey/);
  },
};

const lists: Record<string, Case> = {
  async "objects are listed in order, page by page"({ R2 }) {
    const all = Array.from({ length: 25 }, (_, at) => `page/${String(at).padStart(2, "0")}`);
    await putAll(R2, all);
    const first = await R2.list({ prefix: "page/", limit: 10 });
    ok(first.truncated && first.cursor);
    equal(first.objects.length, 10);
    deepEqual(first.delimitedPrefixes, []);
    deepEqual(await keysOf(R2, { prefix: "page/", limit: 10 }), all);
    deepEqual(await keysOf(R2, { prefix: "page/", limit: 25 }), all);
    const whole = await R2.list({ prefix: "page/" });
    equal(whole.truncated, false);
    equal("cursor" in whole && whole.cursor !== undefined, false);
    deepEqual(await keysOf(R2, { prefix: "page/", startAfter: "page/22" }), all.slice(23));
    deepEqual(await keysOf(R2, { prefix: "page/", startAfter: "page/2" }), all.slice(20));
    deepEqual(await keysOf(R2, { prefix: "page/", startAfter: "a" }), all);
    deepEqual(await keysOf(R2, { prefix: "page/", startAfter: "q" }), []);
    const object = whole.objects[3];
    equal(object?.key, "page/03");
    equal(object?.size, 7);
    equal(object?.range, undefined);
    ok(object?.checksums.md5);
  },

  async "a thousand objects a page, no more"({ R2 }) {
    const all = Array.from({ length: 1001 }, (_, at) => `thousand/${String(at).padStart(4, "0")}`);
    await putAll(R2, all);
    const page = await R2.list({ prefix: "thousand/" });
    equal(page.objects.length, 1000);
    equal(page.truncated, true);
    deepEqual(await keysOf(R2, { prefix: "thousand/" }), all);
    const message = "list: MaxKeys params must be positive integer <= 1000. (10022)";
    for (const limit of [1001, 0, wrong<number>("many")]) {
      await rejects(() => R2.list({ limit }), "Error", message);
    }
    await R2.delete(all.slice(0, 1000));
    deepEqual(await keysOf(R2, { prefix: "thousand/" }), all.slice(1000));
  },

  async "keys are grouped by a delimiter"({ R2 }) {
    const all = ["d/a", "d/b/1", "d/b/2", "d/c", "d/e/f/1", "d/e/f/2", "d//x"];
    await putAll(R2, all);
    const top = await R2.list({ prefix: "d/", delimiter: "/" });
    deepEqual(
      top.objects.map(({ key }) => key),
      ["d/a", "d/c"],
    );
    deepEqual(top.delimitedPrefixes.toSorted(), ["d//", "d/b/", "d/e/"]);
    const deep = await R2.list({ prefix: "d/e/", delimiter: "/" });
    deepEqual([deep.objects, deep.delimitedPrefixes], [[], ["d/e/f/"]]);
    const without = await R2.list({ prefix: "d/b", delimiter: "/" });
    deepEqual(without.delimitedPrefixes, ["d/b/"]);
    const long = await R2.list({ prefix: "d/", delimiter: "/f/" });
    deepEqual(long.delimitedPrefixes, ["d/e/f/"]);
    deepEqual(await keysOf(R2, { prefix: "d/", delimiter: "" }), all.toSorted());

    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await R2.list({
        prefix: "d/",
        delimiter: "/",
        limit: 1,
        ...(cursor && { cursor }),
      });
      seen.push(...page.objects.map(({ key }) => key), ...page.delimitedPrefixes);
      cursor = page.truncated ? page.cursor : undefined;
    } while (cursor);
    deepEqual(seen.toSorted(), ["d//", "d/a", "d/b/", "d/c", "d/e/"]);
  },

  async "metadata is listed if asked for"({ R2 }) {
    const httpMetadata = { contentType: "a/b" };
    const customMetadata = { a: "1" };
    await R2.put("include/a", "x", { httpMetadata, customMetadata });
    const list = async (include: R2ListOptions["include"]): Promise<unknown[]> => {
      const { objects } = await R2.list({ prefix: "include/", ...(include && { include }) });
      return [objects[0]?.httpMetadata ?? {}, objects[0]?.customMetadata ?? {}];
    };
    deepEqual(await list(undefined), [{}, {}]);
    deepEqual(await list([]), [{}, {}]);
    deepEqual(await list(["httpMetadata"]), [httpMetadata, {}]);
    deepEqual(await list(["customMetadata"]), [{}, customMetadata]);
    deepEqual(await list(["httpMetadata", "customMetadata"]), [httpMetadata, customMetadata]);
    await rejects(
      () => list(wrong(["everything"])),
      "RangeError",
      "Unsupported include value everything",
    );
  },

  async "options of the wrong type are refused"({ R2 }) {
    for (const field of ["prefix", "cursor", "delimiter", "startAfter"]) {
      await rejects(
        () => R2.list({ [field]: 5 }),
        "TypeError",
        `Incorrect type for the '${field}' field on 'ListOptions': the provided value is not of type 'string'.`,
      );
    }
  },

  async "a cursor that nobody gave lists no more than the prefix"({ R2 }) {
    await R2.put("forged/a", "x");
    for (const cursor of ["!!!", btoa("forged"), btoa(""), "MToxMg==", btoa("code/")]) {
      const { objects } = await R2.list({ prefix: "forged/", cursor });
      for (const { key } of objects) equal(key, "forged/a");
    }
  },
};

const deletions: Record<string, Case> = {
  async "several keys are deleted at once"({ R2 }) {
    await putAll(R2, ["del/a", "del/b", "del/c"]);
    await R2.delete(["del/a", "del/none", "del/c", "del/c"]);
    deepEqual(await keysOf(R2, { prefix: "del/" }), ["del/b"]);
    await R2.delete([]);
    await R2.delete("del/b");
    deepEqual(await keysOf(R2, { prefix: "del/" }), []);
  },

  async "1,001 keys are too many to delete"({ R2 }) {
    const keys = Array.from({ length: 1001 }, (_, at) => `many/${at}`);
    await R2.delete(keys.slice(1));
    await rejects(
      () => R2.delete(keys),
      "Error",
      "delete: The number of keys in the request must be between 1 and 1000 inclusive. (10027)",
    );
  },
};

const uploads: Record<string, Case> = {
  async "parts make an object"({ R2 }) {
    const upload = await R2.createMultipartUpload("parts", {
      httpMetadata: { contentType: "a/b" },
      customMetadata: { a: "1" },
    });
    equal(upload.key, "parts");
    ok(upload.uploadId.length > 0);
    const first = filled(MIN_PART_BYTES);
    const last = filled(1000, 7);
    const resumed = R2.resumeMultipartUpload("parts", upload.uploadId);
    equal(resumed.key, "parts");
    equal(resumed.uploadId, upload.uploadId);
    const two = await resumed.uploadPart(2, new Blob([last]));
    const one = await upload.uploadPart(1, wrong(new Response(first).body));
    equal(one.partNumber, 1);
    ok(one.etag.length > 0);
    equal(await R2.head("parts"), null);
    const object = await upload.complete([one, two]);
    equal(object.key, "parts");
    equal(object.size, first.length + last.length);
    ok(/^[\da-f]{32}-2$/.test(object.etag), object.etag);
    const got = await R2.get("parts");
    ok(got);
    equal(got.etag, object.etag);
    deepEqual(got.httpMetadata, { contentType: "a/b" });
    deepEqual(got.customMetadata, { a: "1" });
    equal(got.checksums.md5, undefined);
    const bytes = await got.bytes();
    equal(bytes.length, object.size);
    deepEqual(bytes.subarray(first.length), last);
    const range = { offset: first.length - 2, length: 4 };
    const middle = await (await R2.get("parts", { range }))?.bytes();
    deepEqual(middle, bytes.subarray(range.offset, range.offset + 4));
    await R2.delete("parts");
  },

  async "a key of 1,024 bytes can be uploaded in parts"({ R2 }) {
    const key = "u".repeat(1024);
    const upload = await R2.createMultipartUpload(key, { customMetadata: { a: "1" } });
    equal(upload.key, key);
    const part = await R2.resumeMultipartUpload(key, upload.uploadId).uploadPart(1, "x");
    const object = await upload.complete([part]);
    equal(object.key, key);
    deepEqual((await R2.head(key))?.customMetadata, { a: "1" });
    deepEqual(await keysOf(R2, { prefix: "uuuu" }), [key]);
  },

  async "a part can be uploaded again"({ R2 }) {
    const upload = await R2.createMultipartUpload("again");
    const old = await upload.uploadPart(1, "old");
    const part = await upload.uploadPart(1, "new");
    const message =
      "completeMultipartUpload: One or more of the specified parts could not be found. (10025)";
    await rejects(() => upload.complete([old]), "Error", message);
    await rejects(() => upload.complete([{ partNumber: 1, etag: "x" }]), "Error", message);
    await rejects(() => upload.complete([{ ...part, partNumber: 2 }]), "Error", message);
    await upload.complete([part]);
    equal(await text(R2, "again"), "new");
  },

  async "parts but the last are at least 5 MiB, and of one size"({ R2 }) {
    const upload = await R2.createMultipartUpload("small");
    const parts = [await upload.uploadPart(1, "x"), await upload.uploadPart(2, "y")];
    await rejects(
      () => upload.complete(parts),
      "Error",
      "completeMultipartUpload: Your proposed upload is smaller than the minimum allowed object size. (10011)",
    );
    const sizes = [MIN_PART_BYTES, MIN_PART_BYTES + 1, 1];
    const unequal = await Promise.all(
      sizes.map((size, at) => upload.uploadPart(at + 1, filled(size))),
    );
    await rejects(
      () => upload.complete(unequal),
      "Error",
      "completeMultipartUpload: There was a problem with the multipart upload. (10048)",
    );
    await upload.abort();
  },

  async "part numbers are from 1 to 10,000"({ R2 }) {
    const upload = await R2.createMultipartUpload("numbers");
    for (const partNumber of [0, -1, 10_001, wrong<number>("one")]) {
      await rejects(
        () => upload.uploadPart(partNumber, "x"),
        "TypeError",
        /^Part number must be between 1 and 10000 \(inclusive\)\. Actual value was: -?\d+$/,
      );
    }
    await upload.uploadPart(10_000, "x");
    await rejects(
      () => upload.complete([{ partNumber: 0, etag: "x" }]),
      "TypeError",
      /^Part number must be/,
    );
    await upload.abort();
  },

  async "an upload that is not there"({ R2 }) {
    const upload = R2.resumeMultipartUpload("nowhere", "unknown");
    await rejects(() => upload.uploadPart(1, "x"), "Error", NO_UPLOAD);
    await rejects(() => upload.complete([]), "Error", /^completeMultipartUpload: .* \(\d+\)$/);
    await rejects(() => upload.abort(), "Error", /^abortMultipartUpload: .* \(\d+\)$/);
    const real = await R2.createMultipartUpload("somewhere");
    const other = R2.resumeMultipartUpload("elsewhere", real.uploadId);
    await rejects(() => other.uploadPart(1, "x"), "Error", NO_UPLOAD);
    await real.abort();
  },

  async "an aborted or completed upload takes no more parts"({ R2 }) {
    const aborted = await R2.createMultipartUpload("over");
    const part = await aborted.uploadPart(1, "x");
    await aborted.abort();
    await aborted.abort();
    await rejects(() => aborted.uploadPart(2, "x"), "Error", NO_UPLOAD);
    await rejects(() => aborted.complete([part]), "Error", /10024/);
    equal(await R2.head("over"), null);
    const completed = await R2.createMultipartUpload("over");
    await completed.complete([await completed.uploadPart(1, "x")]);
    await rejects(() => completed.uploadPart(2, "x"), "Error", NO_UPLOAD);
  },

  async "arguments of the wrong type are refused"({ R2 }) {
    const upload = await R2.createMultipartUpload("types");
    const values = failed("uploadPart", "R2MultipartUpload", 2, VALUE_TYPES);
    await rejects(() => upload.uploadPart(1, wrong(null)), "TypeError", values);
    await rejects(() => upload.uploadPart(1, wrong(5)), "TypeError", values);
    const parts = failed("complete", "R2MultipartUpload", 1, "Array");
    await rejects(() => upload.complete(wrong("x")), "TypeError", parts);
    await upload.abort();
  },
};

const shape: Record<string, Case> = {
  async "it is an R2Bucket to look at"({ R2 }) {
    equal(Object.prototype.toString.call(R2), "[object R2Bucket]");
    deepEqual(Object.keys(R2), []);
    equal("then" in R2, false);
    const upload = R2.resumeMultipartUpload("a", "b");
    equal(Object.prototype.toString.call(upload), "[object R2MultipartUpload]");
    deepEqual(Object.keys(upload).sort(), ["key", "uploadId"]);
  },

  async "a stream that is used already cannot be put"({ R2 }) {
    const { body } = new Response("x");
    ok(body);
    await new Response(body).text();
    await rejects(() => R2.put("used", body), "TypeError", /locked|disturbed/);
  },
};

export const cases: Record<string, Case> = {
  ...objects,
  ...keys,
  ...conditions,
  ...ranges,
  ...checksums,
  ...metadata,
  ...lists,
  ...deletions,
  ...uploads,
  ...shape,
};

export const differences: Differences = {
  "a prefix with a NUL": {
    on: "miniflare",
    why: "Miniflare ends a prefix at a NUL and finds nothing",
  },
  "a storage class is taken and told": {
    on: "miniflare",
    why: "Miniflare takes any storage class and tells none",
  },
  "a key for encryption is not ignored": {
    on: "miniflare",
    why: "Miniflare ignores ssecKey and stores the object unencrypted",
  },
  "1,001 keys are too many to delete": {
    on: "miniflare",
    why: "Miniflare deletes any number of keys at once",
  },
  "8 KiB of custom metadata fit a key of 1,024 bytes": {
    on: "mayfly",
    why: "the end of a key that is too long with the bucket's prefix is kept in its metadata",
  },
};
