import type { Context } from "hono";

/**
 * What the request's path has after as many segments as `route` has, still percent-encoded: the
 * router decodes parts of a path before it matches, and names of keys and objects must be decoded
 * exactly once. `route` is the part of the pattern after the account.
 */
export function pathAfter(c: Context, route: string): string {
  const { pathname } = new URL(c.req.url);
  const before = `/client/v4/accounts/:account_id${route}`.split("/").length;
  return pathname.split("/").slice(before).join("/");
}
