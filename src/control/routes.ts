import * as z from "zod";
import { formatRoutePattern, parseRoutePattern } from "../catalog/route-pattern.ts";
import { changeRoutes, findRoute, type NewRoute, type Route } from "../catalog/routes.ts";
import type { Env } from "../env.ts";
import { ApiError } from "./error.ts";
import { findZoneOfHost } from "./host-ownership.ts";

/** A route in wrangler's configuration; what else it may hold is for custom domains. */
export const scriptRoute = z.object({
  pattern: z.string(),
  zone_id: z.string().optional(),
  zone_name: z.string().optional(),
});

/** A route in the API of zones. */
export const zoneRoute = z.object({ pattern: z.string(), script: z.string().nullish() });

/** The route to be made for the script; throws if the account may not have it. */
export async function parseRoute(
  env: Env,
  accountId: string,
  route: z.output<typeof scriptRoute>,
  scriptId: string | undefined,
): Promise<NewRoute> {
  const pattern = parseRoutePattern(route.pattern);
  const { host } = pattern;
  const zone = await findZoneOfHost(env, accountId, host, route, "pattern", route.pattern);
  return { zoneId: zone.id, pattern: formatRoutePattern(pattern), host, scriptId };
}

/** Removes the routes with the ids and makes the others; throws if a pattern is another route's. */
export async function replaceRoutes(
  db: D1Database,
  removedIds: string[],
  added: (NewRoute & { id?: string })[],
): Promise<void> {
  for (const { zoneId, pattern } of added) {
    const existing = await findRoute(db, zoneId, pattern);
    if (!existing || removedIds.includes(existing.id)) continue;
    const owner = existing.scriptName
      ? `script "${existing.scriptName}"`
      : "a route without a script";
    throw new ApiError(409, 10020, `pattern: "${pattern}" already belongs to ${owner}`);
  }
  try {
    await changeRoutes(db, removedIds, added);
  } catch (error) {
    // Another request was faster than the check above.
    if (!String(error).includes("UNIQUE")) throw error;
    throw new ApiError(409, 10020, "pattern: one of them was given to another route meanwhile");
  }
}

/** Cloudflare's shape of a route. */
export const toRouteResult = ({ id, pattern, scriptName }: Route): Record<string, unknown> => ({
  id,
  pattern,
  ...(scriptName && { script: scriptName }),
});
