import { type Context, Hono } from "hono";
import { writeHttpMetadata } from "../bindings/r2/http-metadata.ts";
import { R2Store } from "../bindings/r2/store.ts";
import type { ControlEnv } from "./app.ts";
import { success } from "./envelope.ts";
import { ApiError, invalid } from "./error.ts";
import { answer, R2_CODES, requireBucket } from "./r2-bucket.ts";
import { pathAfter } from "./raw-path.ts";

const OBJECTS = "/r2/buckets/:bucket/objects";
const OBJECT = `${OBJECTS}/:key{.+}`;

/** Objects of a bucket, as wrangler reads and writes them: raw bodies, errors in the envelope. */
export const r2Objects = new Hono<ControlEnv>();

r2Objects.get(OBJECTS, async (c) => {
  const store = await requireStore(c);
  const { per_page, prefix, delimiter, cursor, start_after } = c.req.query();
  if (per_page !== undefined && !/^\d{1,4}$/.test(per_page)) {
    throw invalid(R2_CODES.argument, "per_page", per_page, "a whole number from 1 to 1000");
  }
  const page = await answer(() =>
    store.listObjects({
      include: ["httpMetadata", "customMetadata"],
      ...(per_page !== undefined && { limit: Number(per_page) }),
      ...(prefix !== undefined && { prefix }),
      ...(delimiter !== undefined && { delimiter }),
      ...(cursor !== undefined && { cursor }),
      ...(start_after !== undefined && { startAfter: start_after }),
    }),
  );
  const objects = page.objects.map((object) => ({
    key: object.key,
    etag: object.etag,
    last_modified: object.uploaded.toISOString(),
    size: object.size,
    http_metadata: object.httpMetadata ?? {},
    custom_metadata: object.customMetadata ?? {},
    storage_class: object.storageClass,
  }));
  return success(objects, {
    cursor: page.cursor ?? "",
    is_truncated: page.truncated,
    delimited: page.delimitedPrefixes,
  });
});

r2Objects.get(OBJECT, async (c) => {
  const store = await requireStore(c);
  const found = await answer(() => store.getObject(keyOf(c), {}));
  if (!found?.body) {
    throw new ApiError(404, R2_CODES.noObject, "The specified key does not exist.");
  }
  const { fields, body } = found;
  const headers = new Headers({
    etag: fields.httpEtag,
    "last-modified": fields.uploaded.toUTCString(),
    "content-type": "application/octet-stream",
  });
  writeHttpMetadata(fields.httpMetadata ?? {}, headers);
  // The body is as it was put, encoded or not.
  return new Response(body, { headers, encodeBody: "manual" });
});

r2Objects.put(OBJECT, async (c) => {
  const store = await requireStore(c);
  const storageClass = c.req.header("cf-r2-storage-class");
  const { headers, body } = c.req.raw;
  const object = await answer(() =>
    store.putObject(keyOf(c), body ?? new Uint8Array(), {
      httpMetadata: headers,
      ...(storageClass !== undefined && { storageClass }),
    }),
  );
  return success({
    key: object?.key,
    etag: object?.etag,
    size: object?.size,
    version: object?.version,
    uploaded: object?.uploaded,
    storage_class: object?.storageClass,
  });
});

r2Objects.delete(OBJECT, async (c) => {
  const store = await requireStore(c);
  const key = keyOf(c);
  await answer(() => store.deleteObjects(key));
  return success({ key });
});

async function requireStore(c: Context<ControlEnv>): Promise<R2Store> {
  const { accountId, name } = await requireBucket(c);
  return new R2Store(c.env, accountId, name);
}

/** The key at the end of the path. wrangler sends it as it was typed, so a `%` may stand for itself. */
const keyOf = (c: Context<ControlEnv>): string =>
  pathAfter(c, OBJECTS).replace(/(?:%[\da-f]{2})+/gi, (encoded) => {
    try {
      return decodeURIComponent(encoded);
    } catch {
      return encoded;
    }
  });
