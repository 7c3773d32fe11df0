import { Hono, type Context } from "hono";
import * as z from "zod";
import { changeDomains, listDomains, type CustomDomain } from "../catalog/domains.ts";
import { parseRoutePattern } from "../catalog/route-pattern.ts";
import type { ControlEnv } from "./app.ts";
import { readJson } from "./body.ts";
import { paged, success } from "./envelope.ts";
import { ApiError, invalid, notBuilt } from "./error.ts";
import { findZoneOfHost } from "./host-ownership.ts";
import { invalidate } from "./invalidate.ts";
import { accountOf, scriptOf } from "./script.ts";

/** Custom domains: https://developers.cloudflare.com/api/resources/workers/subresources/domains */
export const domains = new Hono<ControlEnv>();

const DOMAINS_PER_PAGE = 100;

const origin = z.object({
  hostname: z.string(),
  zone_id: z.string().optional(),
  zone_name: z.string().optional(),
  enabled: z.boolean().optional(),
  previews_enabled: z.boolean().optional(),
});
const records = z.object({
  /** Removes the script's other custom domains. */
  override_scope: z.boolean().default(false),
  /** Takes host names from other scripts of the account. */
  override_existing_origin: z.boolean().default(false),
  origins: z.array(origin),
});

/** What a script asks for, compared with what there is. */
interface Change {
  /** Host names that no script has. */
  added: { zoneId: string; zoneName: string; hostname: string }[];
  /** Host names that a script has already, this one or another. */
  updated: CustomDomain[];
  /** The script's host names that it asks for no more. */
  removed: CustomDomain[];
}

// Reports what the call below would change.
domains.post("/workers/scripts/:script_name/domains/changeset", async (c) => {
  const { id: scriptId, name: scriptName } = await scriptOf(c);
  const change = await compare(c, scriptId, await readJson(c, z.array(origin), 10001));
  const replaces = c.req.query("replace_state") === "true";
  return success({
    added: change.added.map(({ zoneId, zoneName, hostname }) => ({
      zone_id: zoneId,
      zone_name: zoneName,
      hostname,
      service: scriptName,
      environment: "production",
    })),
    updated: change.updated.map((domain) => ({
      ...toResult(domain),
      modified: domain.scriptId !== scriptId,
    })),
    removed: replaces ? change.removed.map(toResult) : [],
    conflicting: [],
  });
});

domains.put("/workers/scripts/:script_name/domains/records", async (c) => {
  const { id: scriptId } = await scriptOf(c);
  const asked = await readJson(c, records, 10001);
  const { added, updated, removed } = await compare(c, scriptId, asked.origins);
  const taken = updated.filter((domain) => domain.scriptId !== scriptId);
  const [first] = taken;
  if (first && !asked.override_existing_origin) {
    throw new ApiError(
      409,
      100116,
      `hostname: "${first.hostname}" already belongs to script "${first.scriptName}"`,
    );
  }
  const removedIds = asked.override_scope ? removed.map(({ id }) => id) : [];
  await changeDomains(c.env.CATALOG, scriptId, removedIds, [...added, ...taken]);
  await invalidate(c);
  const now = await listDomains(c.env.CATALOG, accountOf(c));
  return success(now.filter((domain) => domain.scriptId === scriptId).map(toResult));
});

domains.get("/workers/domains", (c) => list(c));
domains.get("/workers/domains/records", (c) => list(c));
domains.get("/workers/domains/records/:domain_id", async (c) =>
  success(toResult(await domainOf(c))),
);
domains.get("/workers/domains/:domain_id", async (c) => success(toResult(await domainOf(c))));

domains.delete("/workers/domains/:domain_id", async (c) => {
  const { id, scriptId } = await domainOf(c);
  await changeDomains(c.env.CATALOG, scriptId, [id], []);
  await invalidate(c);
  return success({ id });
});

async function list(c: Context<ControlEnv>): Promise<Response> {
  const wanted = ["hostname", "service", "zone_id", "zone_name", "environment"] as const;
  const rows = (await listDomains(c.env.CATALOG, accountOf(c)))
    .map(toResult)
    .filter((domain) => wanted.every((key) => (c.req.query(key) ?? domain[key]) === domain[key]));
  // Here wrangler counts pages from 0.
  const page = c.req.query("page");
  const query = (key: string): string | undefined =>
    key === "page" && page === "0" ? "1" : c.req.query(key);
  return success(...paged(rows, query, DOMAINS_PER_PAGE));
}

async function domainOf(c: Context<ControlEnv>): Promise<CustomDomain> {
  const id = c.req.param("domain_id");
  const domain = (await listDomains(c.env.CATALOG, accountOf(c))).find((each) => each.id === id);
  if (!domain) throw new ApiError(404, 7003, `domain_id: there is no custom domain "${id}"`);
  return domain;
}

/** Throws if the account may not have one of the host names. */
async function compare(
  c: Context<ControlEnv>,
  scriptId: string,
  origins: z.output<typeof origin>[],
): Promise<Change> {
  const existing = await listDomains(c.env.CATALOG, accountOf(c));
  const change: Change = { added: [], updated: [], removed: [] };
  const hostnames = new Set<string>();
  for (const asked of origins) {
    if (asked.enabled === false) throw notBuilt("routes.enabled", "disabled custom domains are");
    if (asked.previews_enabled) {
      throw notBuilt("routes.previews_enabled", "previews on custom domains are");
    }
    const hostname = asked.hostname.toLowerCase();
    if (hostname.includes("*") || hostname.includes("/")) {
      throw invalid(10022, "hostname", asked.hostname, "a host name without * and without a path");
    }
    const { host } = parseRoutePattern(hostname);
    const zone = await findZoneOfHost(c.env, accountOf(c), host, asked, "hostname", asked.hostname);
    if (hostnames.has(host)) continue;
    hostnames.add(host);
    const domain = existing.find((each) => each.hostname === host);
    if (domain) change.updated.push(domain);
    else change.added.push({ zoneId: zone.id, zoneName: zone.name, hostname: host });
  }
  change.removed = existing.filter(
    (domain) => domain.scriptId === scriptId && !hostnames.has(domain.hostname),
  );
  return change;
}

/** Cloudflare's shape of a custom domain. */
const toResult = ({ id, zoneId, zoneName, hostname, scriptName }: CustomDomain) => ({
  id,
  zone_id: zoneId,
  zone_name: zoneName,
  hostname,
  service: scriptName,
  environment: "production",
  enabled: true,
  previews_enabled: false,
});
