import { type Context, Hono } from "hono";
import * as z from "zod";
import { KvStore } from "../bindings/kv/store.ts";
import { randomHex } from "../catalog/crypto.ts";
import { removeGarbage } from "../catalog/garbage.ts";
import {
  createNamespace,
  deleteNamespace,
  findNamespace,
  listNamespaces,
  type Namespace,
  renameNamespace,
} from "../catalog/namespaces.ts";
import type { ControlEnv } from "./app.ts";
import { parseJson, readJson } from "./body.ts";
import { paged, success } from "./envelope.ts";
import { pathAfter } from "./raw-path.ts";
import { ApiError, invalid } from "./error.ts";

// Cloudflare's codes, as its API answers.
const MALFORMED = 10001;
const KEY_NOT_FOUND = 10009;
const NAMESPACE_NOT_FOUND = 10013;
const TITLE_TAKEN = 10014;

const DEFAULT_PER_PAGE = 20;
/** Keys of one bulk write or deletion: https://developers.cloudflare.com/api/resources/kv/ */
const MAX_BULK_KEYS = 10_000;
/** Writes of a bulk request that are under way at once. */
const PARALLEL_WRITES = 20;

const MAX_TITLE_LENGTH = 512;
const Title = z
  .string()
  .min(1, "must not be empty")
  .max(MAX_TITLE_LENGTH, `must be at most ${MAX_TITLE_LENGTH} characters`);
const CreateBody = z.object({
  title: Title,
  jurisdiction: z
    .undefined("not supported by Mayfly: data stays where the platform runs, wherever that is")
    .optional(),
});
const RenameBody = z.object({ title: Title });
const BulkPutBody = z
  .array(
    z.object({
      key: z.string(),
      value: z.string(),
      base64: z.boolean().optional(),
      expiration: z.number().optional(),
      expiration_ttl: z.number().optional(),
      metadata: z.json().optional(),
    }),
  )
  .max(MAX_BULK_KEYS, `must be at most ${MAX_BULK_KEYS} pairs`);
const BulkDeleteBody = z
  .array(z.string())
  .max(MAX_BULK_KEYS, `must be at most ${MAX_BULK_KEYS} keys`);
const BulkGetBody = z.object({
  keys: z.array(z.string()),
  type: z.enum(["text", "json"]).optional(),
  withMetadata: z.boolean().optional(),
});

/** KV namespaces and their values: https://developers.cloudflare.com/api/resources/kv/ */
export const kv = new Hono<ControlEnv>();

const NAMESPACES = "/storage/kv/namespaces";
const NAMESPACE = `${NAMESPACES}/:namespace`;
const VALUES = `${NAMESPACE}/values`;
const METADATA = `${NAMESPACE}/metadata`;

kv.get(NAMESPACES, async (c) => {
  const { order = "title", direction = "asc" } = c.req.query();
  if (order !== "id" && order !== "title") throw invalid(MALFORMED, "order", order, "id or title");
  if (direction !== "asc" && direction !== "desc") {
    throw invalid(MALFORMED, "direction", direction, "asc or desc");
  }
  const all = await listNamespaces(c.env.CATALOG, accountOf(c), order, direction);
  const [rows, info] = paged(all, (name) => c.req.query(name), DEFAULT_PER_PAGE);
  return success(rows.map(toRecord), info);
});

kv.post(NAMESPACES, async (c) => {
  const { title } = await readJson(c, CreateBody, MALFORMED);
  const created = await createNamespace(c.env.CATALOG, accountOf(c), randomHex(16), title);
  if (!created) throw titleTaken();
  return success(toRecord(created));
});

kv.get(NAMESPACE, async (c) => success(toRecord(await requireNamespace(c))));

kv.put(NAMESPACE, async (c) => {
  const namespace = await requireNamespace(c);
  const { title } = await readJson(c, RenameBody, MALFORMED);
  const renamed = await renameNamespace(c.env.CATALOG, namespace.accountId, namespace.id, title);
  if (!renamed) throw titleTaken();
  return success(toRecord({ ...namespace, title }));
});

kv.delete(NAMESPACE, async (c) => {
  await deleteNamespace(c.env.CATALOG, await requireNamespace(c));
  c.executionCtx.waitUntil(removeGarbage(c.env));
  return success(null);
});

kv.get(`${NAMESPACE}/keys`, async (c) => {
  const store = await requireStore(c);
  const { limit, prefix, cursor } = c.req.query();
  const page = await answer(() =>
    store.listKeys({
      ...(limit !== undefined && { limit: toWhole("limit", limit) }),
      ...(prefix !== undefined && { prefix }),
      ...(cursor !== undefined && { cursor }),
    }),
  );
  const next = page.list_complete ? "" : page.cursor;
  return success(page.keys, { count: page.keys.length, cursor: next });
});

kv.get(`${VALUES}/:key{.+}`, async (c) => {
  const store = await requireStore(c);
  const key = keyOf(c, VALUES);
  const found = await answer(() => store.getValue(key, { stream: true }));
  if (!found) throw keyNotFound();
  const expiration = await expirationOf(store, key);
  return new Response(found.value, {
    headers: {
      "content-type": "application/octet-stream",
      ...(expiration !== undefined && { expiration: `${expiration}` }),
    },
  });
});

kv.get(`${METADATA}/:key{.+}`, async (c) => {
  const store = await requireStore(c);
  const found = await answer(() => store.getValue(keyOf(c, METADATA), { stream: false }));
  if (!found) throw keyNotFound();
  return success(found.metadata);
});

kv.put(`${VALUES}/:key{.+}`, async (c) => {
  const store = await requireStore(c);
  const key = keyOf(c, VALUES);
  const { expiration, expiration_ttl } = c.req.query();
  const { value, metadata } = await readValue(c);
  await answer(() =>
    store.putValue(key, value, {
      ...(expiration !== undefined && { expiration: toWhole("expiration", expiration) }),
      ...(expiration_ttl !== undefined && {
        expirationTtl: toWhole("expiration_ttl", expiration_ttl),
      }),
      ...(metadata !== undefined && { metadata }),
    }),
  );
  return success(null);
});

kv.delete(`${VALUES}/:key{.+}`, async (c) => {
  const store = await requireStore(c);
  await answer(() => store.deleteKey(keyOf(c, VALUES)));
  return success(null);
});

kv.put(`${NAMESPACE}/bulk`, async (c) => {
  const store = await requireStore(c);
  const pairs = await readJson(c, BulkPutBody, MALFORMED);
  await inParallel(pairs, ({ key, value, base64, expiration, expiration_ttl, metadata }) =>
    store.putValue(key, base64 ? fromBase64(key, value) : new TextEncoder().encode(value), {
      ...(expiration !== undefined && { expiration }),
      ...(expiration_ttl !== undefined && { expirationTtl: expiration_ttl }),
      ...(metadata !== undefined && { metadata: JSON.stringify(metadata) }),
    }),
  );
  return success({ successful_key_count: pairs.length, unsuccessful_keys: [] });
});

kv.delete(`${NAMESPACE}/bulk`, deleteMany);
kv.post(`${NAMESPACE}/bulk/delete`, deleteMany);

kv.post(`${NAMESPACE}/bulk/get`, async (c) => {
  const store = await requireStore(c);
  const { keys, type, withMetadata = false } = await readJson(c, BulkGetBody, MALFORMED);
  const values = await answer(() =>
    store.getMany(keys, { withMetadata, ...(type !== undefined && { type }) }),
  );
  return success({ values: Object.fromEntries(values) });
});

async function deleteMany(c: Context<ControlEnv>): Promise<Response> {
  const store = await requireStore(c);
  const keys = await readJson(c, BulkDeleteBody, MALFORMED);
  await inParallel(keys, (key) => store.deleteKey(key));
  return success({ successful_key_count: keys.length, unsuccessful_keys: [] });
}

const accountOf = (c: Context<ControlEnv>): string => c.req.param("account_id") ?? "";

const toRecord = ({ id, title }: Namespace): Record<string, unknown> => ({
  id,
  title,
  supports_url_encoding: true,
});

const titleTaken = (): ApiError =>
  new ApiError(400, TITLE_TAKEN, "a namespace with this account ID and title already exists");
const keyNotFound = (): ApiError => new ApiError(404, KEY_NOT_FOUND, "get: 'key not found'");

async function requireNamespace(c: Context<ControlEnv>): Promise<Namespace> {
  const id = c.req.param("namespace") ?? "";
  const namespace = await findNamespace(c.env.CATALOG, accountOf(c), id);
  if (!namespace) throw new ApiError(404, NAMESPACE_NOT_FOUND, `namespace not found: ${id}`);
  return namespace;
}

async function requireStore(c: Context<ControlEnv>): Promise<KvStore> {
  const { accountId, id } = await requireNamespace(c);
  return new KvStore(c.env, accountId, id);
}

/** The key at the end of the path: decoded once, whatever characters are in it. */
function keyOf(c: Context<ControlEnv>, route: string): string {
  const encoded = pathAfter(c, route);
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw invalid(MALFORMED, "key", encoded, "percent-encoded UTF-8");
  }
}

function toWhole(field: string, text: string): number {
  if (!/^-?\d{1,15}$/.test(text)) throw invalid(MALFORMED, field, text, "a whole number");
  return Number(text);
}

/** The value to write: the body, or of a multipart body the part `value`, with its `metadata`. */
async function readValue(
  c: Context<ControlEnv>,
): Promise<{ value: Uint8Array | ArrayBuffer | ReadableStream; metadata?: string }> {
  if (!c.req.header("content-type")?.startsWith("multipart/form-data")) {
    return { value: c.req.raw.body ?? new Uint8Array() };
  }
  const form = await c.req.formData().catch(() => {
    throw new ApiError(400, MALFORMED, "body: is not valid multipart/form-data");
  });
  const value = form.get("value");
  if (value === null) throw new ApiError(400, MALFORMED, "value: the part is missing");
  const metadata = form.get("metadata");
  const text = metadata instanceof File ? await metadata.text() : metadata;
  if (text !== null) parseJson(text, MALFORMED, "metadata");
  return {
    value: value instanceof File ? await value.arrayBuffer() : new TextEncoder().encode(value),
    ...(text !== null && { metadata: text }),
  };
}

function fromBase64(key: string, text: string): Uint8Array {
  try {
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  } catch {
    throw new ApiError(400, MALFORMED, `value of ${JSON.stringify(key)}: must be valid base64`);
  }
}

/** When the value expires, in seconds since 1970; only listings tell. */
async function expirationOf(store: KvStore, key: string): Promise<number | undefined> {
  const { keys } = await store.listKeys({ prefix: key, limit: 1 });
  return keys[0]?.name === key ? keys[0].expiration : undefined;
}

async function inParallel<T>(items: T[], write: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += PARALLEL_WRITES) {
    const some = items.slice(at, at + PARALLEL_WRITES);
    await answer(() => Promise.all(some.map(write)));
  }
}

/** Runs a call of the store; what it says of wrong arguments is the answer. */
async function answer<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof TypeError) throw new ApiError(400, MALFORMED, error.message);
    const failed = error instanceof Error && /^KV \w+ failed: (4\d\d) (.*)/s.exec(error.message);
    if (!failed) throw error;
    throw new ApiError(failed[1] === "413" ? 413 : 400, MALFORMED, failed[2] ?? "");
  }
}
