import { Hono } from "hono";
import * as z from "zod";
import { R2Store } from "../bindings/r2/store.ts";
import { findBucket } from "../catalog/buckets.ts";
import type { Env } from "../env.ts";
import type { ControlEnv } from "./app.ts";
import { parse, parseJson } from "./body.ts";
import { ApiError } from "./error.ts";
import { R2_CODES } from "./r2-bucket.ts";

/** Objects that are counted at most: each thousand of them takes a call. */
const MAX_COUNTED_OBJECTS = 100_000;

const Body = z.object({
  query: z.string(),
  variables: z.object({
    accountTag: z.string(),
    filter: z.object({ bucketName: z.string() }),
  }),
});

/**
 * Of Cloudflare's analytics the one query that wrangler makes for `r2 bucket info`: how much is in a
 * bucket. Answers in GraphQL's own shape, errors too.
 */
export const graphql = new Hono<ControlEnv>();

graphql.post("/graphql", async (c) => {
  try {
    const json = parseJson(await c.req.text(), R2_CODES.malformed, "body");
    const { query, variables } = parse(Body, json, R2_CODES.malformed, "body");
    const { accountTag, filter } = variables;
    if (!query.includes("r2StorageAdaptiveGroups")) {
      throw new ApiError(
        400,
        R2_CODES.argument,
        "query: Mayfly knows r2StorageAdaptiveGroups only",
      );
    }
    const { accountId } = c.get("principal");
    if (accountId !== undefined && accountId !== accountTag) {
      throw new ApiError(403, 10000, "accountTag: the token is for another account");
    }
    const max = await measure(c.env, accountTag, filter.bucketName);
    const group = { max, dimensions: { datetime: new Date().toISOString() } };
    const viewer = { accounts: [{ r2StorageAdaptiveGroups: [group] }] };
    return Response.json({ data: { viewer }, errors: null });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const { message, code, status } = error;
    return Response.json({ data: null, errors: [{ message, extensions: { code } }] }, { status });
  }
});

interface Measure {
  objectCount: number;
  /** Bytes of all objects. */
  payloadSize: number;
  /** Not measured. */
  metadataSize: null;
}

async function measure(env: Env, accountId: string, bucketName: string): Promise<Measure> {
  const bucket = await findBucket(env.CATALOG, accountId, bucketName);
  if (!bucket) throw new ApiError(404, R2_CODES.noBucket, "The specified bucket does not exist.");
  const store = new R2Store(env, accountId, bucketName);
  const sum: Measure = { objectCount: 0, payloadSize: 0, metadataSize: null };
  for (let cursor: string | undefined, more = true; more;) {
    const page = await store.listObjects(cursor === undefined ? {} : { cursor });
    sum.objectCount += page.objects.length;
    for (const { size } of page.objects) sum.payloadSize += size;
    ({ truncated: more, cursor } = page);
    if (more && sum.objectCount >= MAX_COUNTED_OBJECTS) {
      throw new ApiError(
        400,
        R2_CODES.argument,
        `bucketName: ${bucketName} has more than ${MAX_COUNTED_OBJECTS} objects, which are not counted`,
      );
    }
  }
  return sum;
}
