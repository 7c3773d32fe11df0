import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { type Bucket, findBucket } from "../catalog/buckets.ts";
import type { ControlEnv } from "./app.ts";
import { ApiError, notBuilt } from "./error.ts";

/** https://developers.cloudflare.com/r2/api/error-codes/ */
export const R2_CODES = {
  internal: 10001,
  bucketExists: 10004,
  bucketName: 10005,
  noBucket: 10006,
  noObject: 10007,
  bucketNotEmpty: 10008,
  argument: 10029,
  malformed: 10040,
} as const;

const STATUS: Partial<Record<number, ContentfulStatusCode>> = {
  [R2_CODES.internal]: 500,
  [R2_CODES.noBucket]: 404,
  [R2_CODES.noObject]: 404,
};

/** The bucket that the path names. Every path of a bucket passes here. */
export async function requireBucket(c: Context<ControlEnv>): Promise<Bucket> {
  checkJurisdiction(c);
  const accountId = c.req.param("account_id") ?? "";
  const bucket = await findBucket(c.env.CATALOG, accountId, c.req.param("bucket") ?? "");
  if (!bucket) throw new ApiError(404, R2_CODES.noBucket, "The specified bucket does not exist.");
  return bucket;
}

/** Refuses what asks for a place: data stays where the platform runs. */
export function checkJurisdiction(c: Context): void {
  const jurisdiction = c.req.header("cf-r2-jurisdiction") ?? "default";
  if (jurisdiction !== "default") throw notBuilt("cf-r2-jurisdiction", "jurisdictions are");
}

/** Runs a call of the store; what it says of wrong arguments is the answer. */
export async function answer<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) {
      throw new ApiError(400, R2_CODES.argument, error.message);
    }
    const failed = error instanceof Error && /^\w+: (.*) \((\d+)\)$/s.exec(error.message);
    if (!failed) throw error;
    const code = Number(failed[2]);
    throw new ApiError(STATUS[code] ?? 400, code, failed[1] ?? "");
  }
}
