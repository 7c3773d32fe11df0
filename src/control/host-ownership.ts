import { isForeignSubdomain, listZones, type Zone } from "../catalog/zones.ts";
import { subdomainOf, WORKERS_DEV } from "../catalog/address.ts";
import { isApiHost } from "../catalog/host.ts";
import { isInZone } from "../catalog/route-pattern.ts";
import type { Env } from "../env.ts";
import { ApiError } from "./error.ts";

/** Where a route or custom domain is to be: by Cloudflare, either may name the zone. */
export interface ZoneChoice {
  zone_id?: string | undefined;
  zone_name?: string | undefined;
}

/**
 * The account's zone that the host is in, which is the closest one; the choice must agree. `host`
 * may begin with a `*`. Throws if the account may not serve anything there; `field` and `value` are
 * what the caller gave.
 */
export async function findZoneOfHost(
  env: Env,
  accountId: string,
  host: string,
  choice: ZoneChoice,
  field: string,
  value: string,
): Promise<Zone> {
  const db = env.CATALOG;
  const name = host.replace(/^\*\.?/, "");
  if (name === WORKERS_DEV || name.endsWith(`.${WORKERS_DEV}`)) {
    throw new ApiError(
      400,
      10038,
      `${field}: "${value}" is on ${WORKERS_DEV}, where scripts have their addresses; set workers_dev instead`,
    );
  }
  if (host === name && isApiHost(env, host)) {
    throw new ApiError(
      400,
      10022,
      `${field}: "${value}" is a host of the API, which cannot be routed`,
    );
  }

  // A pattern for any host has no zone of its own.
  const chosen = { accountId, id: choice.zone_id, name: choice.zone_name?.toLowerCase() };
  const [zone] =
    host === "*" && !choice.zone_id && !choice.zone_name
      ? []
      : await listZones(db, host === "*" ? chosen : { accountId, containing: name });
  const agrees =
    zone &&
    (!chosen.id || chosen.id === zone.id) &&
    (!chosen.name || chosen.name === zone.name) &&
    isInZone(host, zone.name);
  if (!agrees) {
    const wanted = choice.zone_name ?? choice.zone_id;
    throw new ApiError(
      400,
      10083,
      `${field}: "${value}" is not in ${wanted ? `zone "${wanted}"` : "a zone"} of this account${zone && wanted ? `, but in ${zone.name}` : ""}`,
    );
  }
  const subdomain = subdomainOf(env.MAYFLY_DOMAIN, name);
  if (subdomain && (await isForeignSubdomain(db, accountId, subdomain))) {
    throw new ApiError(
      403,
      10038,
      `${field}: "${value}" is below ${subdomain}.${env.MAYFLY_DOMAIN}, which belongs to another account`,
    );
  }
  return zone;
}
