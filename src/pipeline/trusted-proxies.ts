import type { Env } from "../env.ts";
import { isWithin, parseNetworks, toBits, withoutPort, type Network } from "./networks.ts";

let trusted: Network[] | undefined;

/**
 * The request as it came to the proxy in front of the platform: if that one is trusted, `X-Forwarded-For`
 * says who the client is and `X-Forwarded-Proto` how it called. Nobody else is believed.
 */
export function seenByProxy(request: Request, env: Env): Request {
  trusted ??= parseNetworks(env.MAYFLY_TRUSTED_PROXIES ?? "") ?? [];
  const { cf } = request as { cf?: { clientIp?: string } };
  if (!cf?.clientIp || !isWithin(withoutPort(cf.clientIp), trusted)) return request;

  const client = clientOf(request.headers.get("x-forwarded-for") ?? "", trusted);
  // What others have said before the proxy is to the left of what it says itself.
  const scheme = request.headers.get("x-forwarded-proto")?.split(",").pop()?.trim().toLowerCase();
  const known = scheme === "http" || scheme === "https";
  const url = known ? scheme + request.url.slice(request.url.indexOf(":")) : request.url;
  return new Request(new Request(url, request), {
    cf: { ...cf, clientIp: client === undefined ? cf.clientIp : `[${client}]` },
  });
}

/** Each proxy adds the address that called it: the last one that is no trusted proxy itself. */
function clientOf(forwardedFor: string, proxies: Network[]): string | undefined {
  let client: string | undefined;
  for (const part of forwardedFor.split(",").toReversed()) {
    const address = withoutPort(part.trim());
    if (toBits(address) === undefined) break;
    client = address;
    if (!isWithin(address, proxies)) break;
  }
  return client;
}
