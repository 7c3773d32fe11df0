import { isApiHost } from "../catalog/host.ts";
import { failure } from "../control/envelope.ts";
import { ApiError } from "../control/error.ts";
import type { Env } from "../env.ts";
import { log } from "../observe/log.ts";
import { metrics } from "../observe/metrics/endpoint.ts";
import { stateOf } from "../roles/contract.ts";
import { close, CLOSE_PATH, isClose } from "./close.ts";
import { dispatchRequest } from "./dispatch.ts";
import { errorPage } from "./error-page.ts";
import { hostUnknown, stateUnavailable, targetInvalid } from "./errors.ts";
import { clientAddress } from "./headers.ts";
import { seenByProxy } from "./trusted-proxies.ts";

// What a host cannot have in it, but what would make another URL of the request's.
const NOT_IN_HOSTS = /[\s/?#@\\,<>]/;

/** Every request from outside: the platform's own paths on its own hosts, all else to workers. */
export function serve(
  received: Request,
  env: Env,
  ctx: ExecutionContext,
): Response | Promise<Response> {
  const request = env.MAYFLY_TRUSTED_PROXIES ? seenByProxy(received, env) : received;
  // The runtime has parsed and normalized the URL, so its parts can be cut out of the text.
  const { url } = request;
  const schemeEnd = url.indexOf("://");
  const pathStart = url.indexOf("/", schemeEnd + 3);
  // `OPTIONS *` has no path; no other request should be without.
  if (pathStart < 0 || NOT_IN_HOSTS.test(request.headers.get("host") ?? "")) {
    return errorPage(targetInvalid, request);
  }
  const scheme = url.slice(0, schemeEnd);
  const host = hostname(url.slice(schemeEnd + 3, pathStart));
  const pathAndQuery = url.slice(pathStart);

  if (isApiHost(env, host)) return servePlatform(request, pathAndQuery, env, ctx);
  return dispatchRequest(request, { scheme, host, pathAndQuery }, env, ctx);
}

// Without the port: "example.com:8787", "[::1]:8787".
function hostname(authority: string): string {
  const colon = authority.lastIndexOf(":");
  return colon > authority.lastIndexOf("]") ? authority.slice(0, colon) : authority;
}

/** On the way to another process the URL's scheme and the client's address are lost, which the API needs. */
function withOrigin(request: Request): Request {
  const forwarded = new Request(request);
  const client = clientAddress(request);
  if (client !== undefined) forwarded.headers.set("cf-connecting-ip", client);
  forwarded.headers.set("x-forwarded-proto", request.url.slice(0, request.url.indexOf(":")));
  return forwarded;
}

async function servePlatform(
  request: Request,
  pathAndQuery: string,
  env: Env,
  ctx: ExecutionContext,
): Promise<Response> {
  const path = pathAndQuery.split("?", 1)[0];
  try {
    if (pathAndQuery.startsWith("/client/v4/")) {
      return await stateOf(env, ctx).fetch(withOrigin(request));
    }
    if (path === CLOSE_PATH && isClose(request, env)) return await close(request, env, ctx);
    switch (path) {
      case "/_mayfly/health":
        return Response.json({ status: "ok" });
      case "/_mayfly/ready":
        await stateOf(env, ctx).ready();
        return Response.json({ status: "ready" });
      case "/_mayfly/metrics":
        return await metrics(request, env, ctx);
      default:
        return errorPage(hostUnknown(env.MAYFLY_DOMAIN, env.MAYFLY_PORT), request);
    }
  } catch (error) {
    log("error", "state_unavailable", { path, message: String(error) });
    if (pathAndQuery.startsWith("/client/v4/")) return apiUnavailable();
    return errorPage(stateUnavailable, request);
  }
}

/** In the shape of the API, so that wrangler can tell it. */
function apiUnavailable(): Response {
  const { code, detail, retryAfterSeconds } = stateUnavailable;
  const response = failure(new ApiError(503, 10013, detail));
  response.headers.set("mayfly-error", code);
  response.headers.set("retry-after", String(retryAfterSeconds));
  return response;
}
