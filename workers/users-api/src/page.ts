import { Problem } from "./problem.ts";
import type { Position } from "./store.ts";

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 100;

/** Users in a page: the query's `limit`, 20 unless given. */
export function parseLimit(limit: string | undefined): number {
  if (limit === undefined) return DEFAULT_LIMIT;
  const number = /^\d{1,4}$/.test(limit) ? Number(limit) : 0;
  if (number < 1 || number > MAX_LIMIT) {
    const message = `limit: got ${limit}, must be a whole number from 1 to ${MAX_LIMIT}`;
    throw new Problem(400, "limit_invalid", message);
  }
  return number;
}

/** The position as text that clients pass on and do not look into. */
export function toCursor({ createdAt, id }: Position): string {
  return btoa(`${createdAt} ${id}`).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** The position in the query's `cursor`. */
export function parseCursor(cursor: string | undefined): Position | undefined {
  if (cursor === undefined) return undefined;
  const [, createdAt, id] = /^(\S+) (\S+)$/.exec(decode(cursor)) ?? [];
  if (!createdAt || !id) {
    throw new Problem(400, "cursor_invalid", "cursor: must be the next_cursor of a page");
  }
  return { createdAt, id };
}

function decode(base64url: string): string {
  try {
    return atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return "";
  }
}
