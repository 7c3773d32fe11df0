import type { VersionTarget } from "../catalog/routing.ts";
import { bodyTooLarge, tooManyInFlight, urlTooLong } from "./errors.ts";
import type { PageError } from "./error-page.ts";

/** Largest request body, in bytes, as on Cloudflare's free and pro plans. */
export const MAX_BODY_BYTES = 100 * 1024 * 1024;
/** Longest URL, in bytes, as on Cloudflare. */
const MAX_URL_BYTES = 16 * 1024;
/**
 * Most invocations of one script in flight at once in this process, by isolation. An isolate of its own is
 * taken until all that is done in it is over, also behind the response. Of requests in a shared one only
 * those count that have no response yet: an open stream costs little, and the runtime does not tell that
 * its client has gone before the worker writes again.
 */
export const MAX_IN_FLIGHT = { request: 300, shared: 2_000 } as const;
/**
 * An account's scripts together may have half as much again, so that none of them alone can take all that
 * the account may have, and no account all that the process can bear.
 */
const ACCOUNT_SHARE = 1.5;

// What a script may take. Each invocation takes a whole number of it.
const SHARE = MAX_IN_FLIGHT.request * MAX_IN_FLIGHT.shared;
const weightOf = ({ isolation }: VersionTarget): number => SHARE / MAX_IN_FLIGHT[isolation];

// By the id of the script and by that of the account.
const taken = new Map<string, number>();

function take(id: string, weight: number): void {
  const now = (taken.get(id) ?? 0) + weight;
  if (now > 0) taken.set(id, now);
  else taken.delete(id);
}

/** How long the request says that its body is, in bytes; 0 if it has none or does not say. */
export function bodyBytes(request: Request): number {
  // Most requests have no body, and asking for one costs less than asking for a header.
  return request.body ? Number(request.headers.get("content-length")) : 0;
}

/** Why the request may never go on. */
export function refuse(request: Request): PageError | undefined {
  if (request.url.length > MAX_URL_BYTES) return urlTooLong(MAX_URL_BYTES);
  return bodyBytes(request) > MAX_BODY_BYTES ? bodyTooLarge(MAX_BODY_BYTES) : undefined;
}

/** Why the invocation may not begin now, or undefined: then it is counted, and `left` must follow. */
export function admit(accountId: string, version: VersionTarget): PageError | undefined {
  const { scriptId, isolation } = version;
  const weight = weightOf(version);
  if ((taken.get(scriptId) ?? 0) + weight > SHARE) {
    return tooManyInFlight("a script", MAX_IN_FLIGHT[isolation]);
  }
  if ((taken.get(accountId) ?? 0) + weight > SHARE * ACCOUNT_SHARE) {
    return tooManyInFlight("an account's scripts", MAX_IN_FLIGHT[isolation] * ACCOUNT_SHARE);
  }
  take(scriptId, weight);
  take(accountId, weight);
  return undefined;
}

/** An admitted invocation is over, or will never begin. */
export function left(accountId: string, version: VersionTarget): void {
  const weight = weightOf(version);
  take(version.scriptId, -weight);
  take(accountId, -weight);
}

/** Why a call of a method may not begin now. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";

  constructor({ title, detail }: PageError) {
    super(`${title}: ${detail}`);
  }
}
