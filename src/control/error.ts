import type { ContentfulStatusCode } from "hono/utils/http-status";

/** An error that the caller of the API is told: Cloudflare's code and a message that helps. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: ContentfulStatusCode;
  readonly code: number;
  /** Details that wrangler renders for some codes. */
  readonly meta: Record<string, unknown> | undefined;

  constructor(
    status: ContentfulStatusCode,
    code: number,
    message: string,
    meta?: Record<string, unknown>,
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.meta = meta;
  }
}

/** A field of the request is wrong. `allowed` completes the sentence "must be …". */
export function invalid(code: number, field: string, value: unknown, allowed: string): ApiError {
  return new ApiError(400, code, `${field}: got ${JSON.stringify(value)}, must be ${allowed}`);
}

/** What Cloudflare has and Mayfly has not, named by the field that asks for it. */
export function notBuilt(field: string, what: string): ApiError {
  return new ApiError(
    400,
    10021,
    `${field}: ${what} not supported by Mayfly yet; see docs/wrangler.md`,
  );
}
