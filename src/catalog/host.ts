/** The settings that name the API's hosts; members of `Env`. */
interface ApiHosts {
  MAYFLY_DOMAIN: string;
  MAYFLY_API_HOSTS?: string;
}

// Hosts of the API, and the settings that they were made from.
let apiHosts = new Set<string>();
let domain: string | undefined;
let extra: string | undefined;

/**
 * Whether the API, and no worker, answers under the host (as `toHostName` gives it): localhost, IP
 * addresses, MAYFLY_DOMAIN and MAYFLY_API_HOSTS. Asked for every request.
 */
export function isApiHost(env: ApiHosts, host: string): boolean {
  if (domain !== env.MAYFLY_DOMAIN || extra !== env.MAYFLY_API_HOSTS) {
    domain = env.MAYFLY_DOMAIN;
    extra = env.MAYFLY_API_HOSTS;
    apiHosts = new Set(["localhost", domain, ...(extra ?? "").split(",")].map(toHostName));
    apiHosts.delete("");
  }
  return apiHosts.has(host) || isAddress(host);
}

/**
 * Whether the host is an IPv4 address, or an IPv6 address in brackets. As in the URL standard, a
 * host whose last label is a number can only be meant as an address:
 * https://url.spec.whatwg.org/#ends-in-a-number-checker
 */
export function isAddress(host: string): boolean {
  if (host.endsWith("]")) return true;
  const last = host.slice(host.lastIndexOf(".") + 1);
  const first = last.charCodeAt(0);
  return first >= 48 && first <= 57 && /^(\d+|0x[\da-f]*)$/.test(last);
}

/** The host name of a `Host` header: lower case, without port and without the root's dot. */
export function toHostName(authority: string): string {
  let host = authority.trim().toLowerCase();
  const colon = host.lastIndexOf(":");
  // The colons inside the brackets of an IPv6 address are its own.
  if (colon > host.lastIndexOf("]")) host = host.slice(0, colon);
  return host.endsWith(".") ? host.slice(0, -1) : host;
}
