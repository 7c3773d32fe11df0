import type { Env } from "../env.ts";
import { writeContext, type TraceContext } from "../observe/traces/context.ts";
import { withoutPort } from "./networks.ts";

/** Carries the invocation's id, as Cloudflare's ray id, to the worker and back in error pages. */
export const INVOCATION_ID_HEADER = "cf-ray";

/** Where a request came from, as an address without port; undefined if that is not known. */
export function clientAddress({ cf }: Request): string | undefined {
  const address = (cf as { clientIp?: string } | undefined)?.clientIp;
  return address && withoutPort(address);
}

/**
 * The request with the headers that Cloudflare adds: `cf-connecting-ip`, `cf-ray`,
 * `x-forwarded-for` and `x-forwarded-proto`; what the client sent under these names is overwritten. At the
 * edge they are there already. `trace` is what the worker's own requests continue.
 * https://developers.cloudflare.com/fundamentals/reference/http-headers/
 */
export function forwardedHeaders(
  request: Request,
  invocationId: string,
  env: Env,
  trace?: TraceContext,
): Request {
  if (env.MAYFLY_RUNTIME === "edge" && !trace) return request;
  // A copy whose own headers are changed: making headers first and a request with them costs twice.
  const forwarded = new Request(request);
  const { headers } = forwarded;
  if (trace) writeContext(headers, trace);
  if (env.MAYFLY_RUNTIME === "edge") return forwarded;
  const client = clientAddress(request);
  if (client !== undefined) {
    headers.set("cf-connecting-ip", client);
    headers.set("x-forwarded-for", client);
  }
  headers.set(INVOCATION_ID_HEADER, invocationId);
  headers.set("x-forwarded-proto", request.url.startsWith("https:") ? "https" : "http");
  return forwarded;
}
