import type { ScriptTarget, VersionTarget } from "../catalog/routing.ts";
import { bodyTooLarge, tooManyInFlight } from "./errors.ts";
import type { PageError } from "./error-page.ts";

/** Largest request body, in bytes, as on Cloudflare's free and pro plans. */
export const MAX_BODY_BYTES = 100 * 1024 * 1024;
/** Most requests of one script in flight at once in this process, by isolation. */
export const MAX_IN_FLIGHT = { request: 300, shared: 2_000 } as const;

const inFlight = new Map<string, number>();

/** Why the request may not go on, or undefined: then `admitted` counts, and `left` must follow. */
export function admit(
  target: ScriptTarget,
  version: VersionTarget,
  request: Request,
): PageError | undefined {
  const length = request.headers.get("content-length");
  if (length !== null && Number(length) > MAX_BODY_BYTES) return bodyTooLarge(MAX_BODY_BYTES);
  const limit = MAX_IN_FLIGHT[version.isolation];
  const count = inFlight.get(target.scriptId) ?? 0;
  if (count >= limit) return tooManyInFlight(limit);
  inFlight.set(target.scriptId, count + 1);
  return undefined;
}

/** An admitted request has its response, or never will. */
export function left(target: ScriptTarget): void {
  const count = (inFlight.get(target.scriptId) ?? 0) - 1;
  if (count > 0) inFlight.set(target.scriptId, count);
  else inFlight.delete(target.scriptId);
}
