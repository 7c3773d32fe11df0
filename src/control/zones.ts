import { Hono, type Context } from "hono";
import * as z from "zod";
import { findAccount } from "../catalog/accounts.ts";
import { subdomainOf, WORKERS_DEV } from "../catalog/address.ts";
import { isAddress, isApiHost, toHostName } from "../catalog/host.ts";
import {
  changeRoutes,
  findRoute,
  listRoutes,
  type NewRoute,
  type Route,
} from "../catalog/routes.ts";
import { getScript } from "../catalog/scripts.ts";
import {
  createZone,
  deleteZone,
  findForeignZone,
  isForeignSubdomain,
  listZones,
  type Zone,
} from "../catalog/zones.ts";
import type { ControlEnv } from "./app.ts";
import { readJson } from "./body.ts";
import { paged, success } from "./envelope.ts";
import { ApiError, invalid } from "./error.ts";
import { invalidate } from "./invalidate.ts";
import { parseRoute, replaceRoutes, toRouteResult, zoneRoute } from "./routes.ts";

/** Zones and their routes: https://developers.cloudflare.com/api/resources/zones */
export const zones = new Hono<ControlEnv>();

const ZONES_PER_PAGE = 20;
// Labels of letters, digits and inner hyphens; a zone has two at least.
const DOMAIN_NAME =
  /^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

const newZone = z.object({
  name: z.string().transform((name) => name.trim().toLowerCase()),
  account: z.object({ id: z.string().optional() }).optional(),
});

zones.get("/", async (c) => {
  const { accountId } = c.var.principal;
  const asked = c.req.query("account.id");
  if (accountId && asked && asked !== accountId) return success([], { page: 1, total_count: 0 });
  const filter = { accountId: accountId ?? asked };
  const name = c.req.query("name")?.toLowerCase();
  let found = await listZones(c.env.CATALOG, { ...filter, name });
  if (name && found.length === 0) {
    // Looking for the zone of a host, wrangler tries the host and what it is below, but never a
    // name without a dot. So a zone like "localhost" answers for the hosts inside it.
    const around = await listZones(c.env.CATALOG, { ...filter, containing: name });
    found = around.filter((zone) => !zone.name.includes("."));
  }
  const [page, info] = paged(found, (key) => c.req.query(key), ZONES_PER_PAGE);
  return success(
    page.map((zone) => toResult(zone)),
    info,
  );
});

zones.post("/", async (c) => {
  const db = c.env.CATALOG;
  const { name, account } = await readJson(c, newZone, 1001);
  const accountId = account?.id ?? c.var.principal.accountId;
  if (!accountId) throw invalid(1001, "account.id", accountId, "the id of an account");
  if (c.var.principal.accountId && accountId !== c.var.principal.accountId) {
    throw new ApiError(403, 10000, "Authentication error: the token is for another account");
  }
  if (!(await findAccount(db, accountId))) {
    throw invalid(1001, "account.id", accountId, "the id of an account");
  }
  if (!DOMAIN_NAME.test(name) || isAddress(name)) {
    throw invalid(1049, "name", name, "a domain name of two labels or more, in ASCII");
  }
  if (isApiHost(c.env, name) || name === WORKERS_DEV || name.endsWith(`.${WORKERS_DEV}`)) {
    throw new ApiError(400, 1049, `name: "${name}" is the platform's own`);
  }
  const foreign = await findForeignZone(db, accountId, name);
  const subdomain = subdomainOf(c.env.MAYFLY_DOMAIN, name);
  if (foreign || (subdomain && (await isForeignSubdomain(db, accountId, subdomain)))) {
    throw new ApiError(409, 1116, `name: "${name}" overlaps with a zone of another account`);
  }
  const id = await createZone(db, accountId, name);
  if (!id) throw new ApiError(409, 1061, `name: zone "${name}" already exists`);
  await invalidate(c);
  return success(toResult(await findZone(c, id)));
});

zones.get("/:zone_id", async (c) => success(toResult(await zoneOf(c))));

zones.delete("/:zone_id", async (c) => {
  const { id, name } = await zoneOf(c);
  const configured = [c.env.MAYFLY_DOMAIN, ...(c.env.MAYFLY_ZONES ?? "").split(",")];
  if (configured.map(toHostName).includes(name)) {
    throw new ApiError(
      409,
      1105,
      `zone_id: zone "${name}" is set by MAYFLY_DOMAIN or MAYFLY_ZONES; remove it there first`,
    );
  }
  await deleteZone(c.env.CATALOG, id);
  await invalidate(c);
  return success({ id });
});

zones.get("/:zone_id/workers/routes", async (c) => {
  const { id } = await zoneOf(c);
  return success((await listRoutes(c.env.CATALOG, id)).map(toRouteResult));
});

zones.get("/:zone_id/workers/routes/:route_id", async (c) =>
  success(toRouteResult(await routeOf(c, await zoneOf(c)))),
);

zones.post("/:zone_id/workers/routes", async (c) => {
  const zone = await zoneOf(c);
  return success(await replaceRoute(c, [], await readRoute(c, zone)));
});

zones.put("/:zone_id/workers/routes/:route_id", async (c) => {
  const zone = await zoneOf(c);
  const { id } = await routeOf(c, zone);
  return success(await replaceRoute(c, [id], { ...(await readRoute(c, zone)), id }));
});

zones.delete("/:zone_id/workers/routes/:route_id", async (c) => {
  const { id } = await routeOf(c, await zoneOf(c));
  await changeRoutes(c.env.CATALOG, [id], []);
  await invalidate(c);
  return success({ id });
});

/** The zone of the path, if it is one that the caller may touch. */
const zoneOf = (c: Context<ControlEnv>): Promise<Zone> => findZone(c, c.req.param("zone_id") ?? "");

async function findZone(c: Context<ControlEnv>, id: string): Promise<Zone> {
  const [zone] = await listZones(c.env.CATALOG, { accountId: c.var.principal.accountId, id });
  if (!zone) throw new ApiError(404, 7003, `zone_id: there is no zone "${id}"`);
  return zone;
}

async function routeOf(c: Context<ControlEnv>, zone: Zone): Promise<Route> {
  const id = c.req.param("route_id");
  const route = (await listRoutes(c.env.CATALOG, zone.id)).find((route) => route.id === id);
  if (!route) throw new ApiError(404, 7003, `route_id: there is no route "${id}" in ${zone.name}`);
  return route;
}

/** The route that the body describes. */
async function readRoute(c: Context<ControlEnv>, zone: Zone): Promise<NewRoute> {
  const { pattern, script } = await readJson(c, zoneRoute, 10022);
  const known = script ? await getScript(c.env.CATALOG, zone.accountId, script) : undefined;
  if (script && !known) {
    throw new ApiError(400, 10019, `script: there is no script "${script}" in the zone's account`);
  }
  return parseRoute(c.env, zone.accountId, { pattern, zone_id: zone.id }, known?.id);
}

/** Makes the route in place of those with the ids. */
async function replaceRoute(
  c: Context<ControlEnv>,
  ids: string[],
  route: NewRoute & { id?: string },
): Promise<Record<string, unknown>> {
  const { CATALOG: db } = c.env;
  await replaceRoutes(db, ids, [route]);
  await invalidate(c);
  const made = await findRoute(db, route.zoneId, route.pattern);
  return made ? toRouteResult(made) : {};
}

/** Cloudflare's shape of a zone, with what has a meaning here. */
const toResult = (zone: Zone): Record<string, unknown> => ({
  id: zone.id,
  name: zone.name,
  status: "active",
  paused: false,
  type: "full",
  development_mode: 0,
  name_servers: [],
  original_name_servers: null,
  original_registrar: null,
  original_dnshost: null,
  created_on: zone.createdAt,
  modified_on: zone.createdAt,
  activated_on: zone.createdAt,
  account: { id: zone.accountId, name: zone.accountName },
});
