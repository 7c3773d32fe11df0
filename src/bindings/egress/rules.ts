import { isAddress } from "../../catalog/host.ts";

/**
 * Which hosts the workers of an account may call, as the account wants it. A pattern is a host, `*.` and a
 * host for all that is below it, or `*`.
 */
export interface EgressRules {
  /** If there are any, all other hosts are refused. */
  allow: string[];
  /** Refused, even if they are allowed too. */
  deny: string[];
}

/** The list that refuses the host, which has no port and no dot at its end. */
export function listRule(
  { allow, deny }: EgressRules,
  host: string,
): "deny_list" | "allow_list" | undefined {
  const isHost = (pattern: string): boolean => matches(pattern, host);
  if (deny.some(isHost)) return "deny_list";
  return allow.length > 0 && !allow.some(isHost) ? "allow_list" : undefined;
}

const matches = (pattern: string, host: string): boolean =>
  pattern === "*" ||
  pattern === host ||
  (pattern.startsWith("*.") && host.endsWith(pattern.slice(1)));

/** The pattern as it is kept: hosts as in URLs. Undefined if it is none. */
export function normalizePattern(text: string): string | undefined {
  if (text === "*") return text;
  const [, prefix = "", host = ""] = /^(\*\.)?(.*)$/s.exec(text.trim()) ?? [];
  const normal = normalizeHost(host);
  // There is nothing below an address.
  if (normal === undefined || (prefix !== "" && isAddress(normal))) return undefined;
  return prefix + normal;
}

/** The host as `URL.hostname` would have it, without the root's dot; undefined if it is none. */
export function normalizeHost(host: string): string | undefined {
  if (host === "" || /[\s/?#@\\*]/.test(host)) return undefined;
  const url = URL.parse(`http://${host}`);
  // A port would be another rule than it looks like.
  if (!url || /:\d*$/.test(host.replace(/^\[.*\]/, ""))) return undefined;
  return url.hostname.replace(/\.$/, "") || undefined;
}
