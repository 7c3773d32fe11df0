import { invalid, type ApiError } from "../control/error.ts";
import { isAddress } from "./host.ts";
import type { PathRoute } from "./routing.ts";

/**
 * A route pattern, `[scheme://]host[/path]`, in parts:
 * https://developers.cloudflare.com/workers/configuration/routing/routes/
 */
export interface RoutePattern {
  /** "http" or "https"; undefined: both. */
  scheme: string | undefined;
  /** Lower case. With a leading `*`, which stands for any characters, it matches by its end. */
  host: string;
  /** Path, without the `*` that it may end with; percent-encoded as in a request. */
  path: string;
  /** Whether the path matches by its beginning. */
  wildcard: boolean;
}

/** Longest pattern taken, in characters. */
export const MAX_PATTERN_LENGTH = 2048;

// Labels of a host name; "_" is not a host's by the book, but it may be in a script's name.
const HOST_NAME = /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/;

const refuse = (pattern: unknown, allowed: string): ApiError =>
  invalid(10022, "pattern", pattern, allowed);

/** Throws Cloudflare's 10022 if the pattern is not one. */
export function parseRoutePattern(pattern: string): RoutePattern {
  if (pattern.length > MAX_PATTERN_LENGTH) {
    throw refuse(pattern, `at most ${MAX_PATTERN_LENGTH} characters long`);
  }
  const scheme = /^(https?):\/\//i.exec(pattern)?.[1]?.toLowerCase();
  const rest = scheme ? pattern.slice(scheme.length + 3) : pattern;
  const slash = rest.indexOf("/");
  const host = (slash === -1 ? rest : rest.slice(0, slash)).toLowerCase();
  let path = slash === -1 ? "/" : rest.slice(slash);

  const name = host.replace(/^\*\.?/, "");
  if (host !== "*" && !HOST_NAME.test(name)) {
    throw refuse(
      pattern,
      'a host name, with nothing but "*" before it and no port, and then a path (non-ASCII names in punycode)',
    );
  }
  if (isAddress(name)) throw refuse(pattern, "a host name, not an IP address");
  if (/[?#]/.test(path)) {
    throw refuse(pattern, "without query and fragment; end the path in * to match any query");
  }
  const wildcard = path.endsWith("*");
  if (wildcard) path = path.slice(0, -1);
  if (path.includes("*")) throw refuse(pattern, "without * inside the path, only at its end");
  return { scheme, host, path: path.replace(/[^!-~]+/g, encodeURIComponent), wildcard };
}

/** The pattern as text, the same for all patterns that mean the same. */
export function formatRoutePattern({ scheme, host, path, wildcard }: RoutePattern): string {
  return `${scheme ? `${scheme}://` : ""}${host}${path}${wildcard ? "*" : ""}`;
}

/** Whether all that the pattern's host matches within the zone is meant by it: `*` is any host. */
export function isInZone(host: string, zone: string): boolean {
  if (host === "*") return true;
  const name = host.replace(/^\*\.?/, "");
  return name === zone || name.endsWith(`.${zone}`);
}

/** Most specific first: host before scheme and path, then the longer path. */
export function compareRoutes(a: RoutePattern, b: RoutePattern): number {
  return (
    Number(a.host.startsWith("*")) - Number(b.host.startsWith("*")) ||
    b.host.length - a.host.length ||
    b.path.length - a.path.length ||
    Number(a.wildcard) - Number(b.wildcard) ||
    Number(b.scheme !== undefined) - Number(a.scheme !== undefined)
  );
}

/** Whether the pattern's host matches the host (lower case, no port). */
export function matchesHost(pattern: RoutePattern, host: string): boolean {
  return pattern.host.startsWith("*")
    ? host.endsWith(pattern.host.slice(1))
    : pattern.host === host;
}

/** The route that takes the request, of routes in the order of `compareRoutes`. */
export function pickRoute<Route extends Omit<PathRoute, "target">>(
  routes: Route[],
  scheme: string,
  pathAndQuery: string,
): Route | undefined {
  return routes.find(
    (route) =>
      (route.scheme === undefined || route.scheme === scheme) &&
      (route.wildcard ? pathAndQuery.startsWith(route.path) : pathAndQuery === route.path),
  );
}
