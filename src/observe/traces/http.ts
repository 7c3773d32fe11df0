/** https://opentelemetry.io/docs/specs/semconv/http/http-spans/ */
import type { Attributes } from "./span.ts";

const METHODS = new Set("GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH QUERY".split(" "));

/** What methods nobody knows are called, so that there are not too many names. */
const methodOf = ({ method }: Request): string => (METHODS.has(method) ? method : "HTTP");

/** Without the query, in which secrets travel. */
export function describeIncoming(request: Request): Attributes {
  const url = new URL(request.url);
  return {
    "http.request.method": methodOf(request),
    "url.scheme": url.protocol.slice(0, -1),
    "url.path": url.pathname,
    "server.address": url.hostname,
    "server.port": portOf(url),
    "user_agent.original": request.headers.get("user-agent") ?? undefined,
  };
}

/** The same for a request that a worker sends. */
export function describeOutgoing(request: Request): Attributes {
  const url = new URL(request.url);
  return {
    "http.request.method": methodOf(request),
    "url.full": url.origin + url.pathname,
    "server.address": url.hostname,
    "server.port": portOf(url),
  };
}

const portOf = ({ port, protocol }: URL): number =>
  port === "" ? (protocol === "https:" ? 443 : 80) : Number(port);
