/**
 * Addresses that the platform gives by itself: `<label>.<subdomain>.<base domain>`, where the label
 * is a script's name, or `<preview>-<script>` for one version of it. Each account has a subdomain.
 */
export interface Address {
  label: string;
  subdomain: string;
}

/** Cloudflare's base domain, answered to as a Host header by every Mayfly. */
export const WORKERS_DEV = "workers.dev";

/** How many digits of a version's id its preview address shows. */
export const PREVIEW_ID_DIGITS = 8;

/** The parts of the host if it has the shape of such an address. */
export function parseAddress(domain: string, host: string): Address | undefined {
  const base = [domain, WORKERS_DEV].find((base) => host.endsWith(`.${base}`));
  if (base === undefined) return undefined;
  const [label, subdomain, ...more] = host.slice(0, -base.length - 1).split(".");
  return label && subdomain && more.length === 0 ? { label, subdomain } : undefined;
}

/**
 * The subdomain that the host is in, at any depth: below it, nobody but the account it belongs to
 * may serve anything.
 */
export function subdomainOf(domain: string, host: string): string | undefined {
  if (!host.endsWith(`.${domain}`)) return undefined;
  return host
    .slice(0, -domain.length - 1)
    .split(".")
    .at(-1);
}

/** All ways to read the label as `<preview>-<script>`: the longest name of a script comes first. */
export function previewCandidates(label: string): { preview: string; scriptName: string }[] {
  const candidates = [];
  for (let dash = label.indexOf("-"); dash > 0; dash = label.indexOf("-", dash + 1)) {
    candidates.push({ preview: label.slice(0, dash), scriptName: label.slice(dash + 1) });
  }
  return candidates;
}

/** The settings that addresses are made of; members of `Env`. */
interface AddressSettings {
  MAYFLY_RUNTIME: "edge" | "workerd";
  MAYFLY_DOMAIN: string;
  MAYFLY_PORT?: string;
  MAYFLY_SCHEME?: "http" | "https";
}

/** Where a script is found. */
export function scriptUrl(env: AddressSettings, scriptName: string, subdomain: string): string {
  const scheme = env.MAYFLY_RUNTIME === "edge" ? "https" : (env.MAYFLY_SCHEME ?? "http");
  return `${scheme}://${scriptName}.${authority(env, subdomain)}`;
}

/** What follows the digits of a version's id, or its alias, in the host of its preview address. */
export function previewSuffix(env: AddressSettings, scriptName: string, subdomain: string): string {
  return `-${scriptName}.${authority(env, subdomain)}`;
}

function authority(env: AddressSettings, subdomain: string): string {
  return `${subdomain}.${env.MAYFLY_DOMAIN}${env.MAYFLY_PORT ? `:${env.MAYFLY_PORT}` : ""}`;
}
