import type { Env } from "../env.ts";
import {
  parseAddress,
  PREVIEW_ID_DIGITS,
  previewCandidates,
  subdomainOf,
  WORKERS_DEV,
} from "./address.ts";
import { IS_BUDGETED } from "./budgets.ts";
import { isApiHost, toHostName } from "./host.ts";
import { observeOf } from "./observe.ts";
import { compareRoutes, parseRoutePattern } from "./route-pattern.ts";
import type { ApartReason, HostTable, PathRoute, ScriptTarget } from "./routing.ts";
import type { ScriptSettings } from "./scripts.ts";
import { toVersionTarget, type VersionTargetRow } from "./versions.ts";

/** One version of a script that is served, or all null where no deployed script is. */
interface TargetRow extends VersionTargetRow {
  account_id: string;
  script_name: string;
  /** Null unless it runs apart, or did. */
  apart_until: number | null;
  apart_reason: ApartReason;
  apart_culprit: 0 | 1;
  settings: string;
  /** Null unless it is tailed, or was. */
  tailed_until: number | null;
  budgeted: 0 | 1;
}

/** What a host serves, one row for each version; routes also without a script. */
interface ServedRow extends TargetRow {
  kind: "route" | "domain" | "address" | "preview";
  /** Of a route. */
  pattern: string | null;
  /** Of an address: whether the script is to be found there. */
  workers_dev: 0 | 1;
}

const TARGET_COLUMNS = `
  s.account_id, s.id AS script_id, s.name AS script_name, s.workers_dev, s.settings,
  v.id AS version_id, v.isolation, v.wall_time_ms, v.cpu_ms, v.code_bytes,
  v.annotations ->> '$."workers/tag"' AS tag, v.annotations ->> '$."workers/message"' AS message,
  apart.until AS apart_until, apart.reason AS apart_reason, apart.culprit AS apart_culprit,
  tailed.until AS tailed_until, ${IS_BUDGETED} AS budgeted`;

const MARKS = `
  LEFT JOIN apart_scripts apart ON apart.script_id = s.id
  LEFT JOIN tailed_scripts tailed ON tailed.script_id = s.id`;

// The latest deployment of script `s`, one row for each of its versions `v`.
const DEPLOYED_VERSIONS = `
  LEFT JOIN deployments d ON d.script_id = s.id
    AND d.number = (SELECT max(number) FROM deployments WHERE script_id = s.id)
  LEFT JOIN json_each(d.versions) part
  LEFT JOIN versions v ON v.id = part.value ->> 'version_id'
  ${MARKS}`;

// ?1 names of the zones that the host may be in, ?2 host, ?3 subdomain that the host is below,
// ?4 and ?5 subdomain and label of the host, if it is an address. A host is in its closest zone
// alone. What is below an account's subdomain is not for the zones of others.
const SERVED = `
  WITH closest AS (
    SELECT id, account_id FROM zones WHERE name IN (SELECT value FROM json_each(?1))
    ORDER BY length(name) DESC LIMIT 1
  ),
  zone AS (
    SELECT id FROM closest
    WHERE NOT EXISTS (
      SELECT 1 FROM accounts WHERE subdomain = ?3 AND id <> closest.account_id
    )
  ),
  served AS (
    SELECT 'route' AS kind, r.script_id, r.pattern FROM routes r JOIN zone ON zone.id = r.zone_id
    WHERE r.host = ?2
      -- Wildcards: "*" and its successor enclose them in the index.
      OR (r.host >= '*' AND r.host < '+'
        AND (r.host = '*' OR substr(?2, 1 - length(r.host)) = substr(r.host, 2)))
    UNION ALL
    SELECT 'domain', h.script_id, NULL FROM domains h JOIN zone ON zone.id = h.zone_id
    WHERE h.hostname = ?2
    UNION ALL
    SELECT 'address', id, NULL FROM scripts
    WHERE account_id = (SELECT id FROM accounts WHERE subdomain = ?4) AND name = ?5
  )
  SELECT served.kind, served.pattern, part.value ->> 'percentage' AS percentage, ${TARGET_COLUMNS}
  FROM served LEFT JOIN scripts s ON s.id = served.script_id ${DEPLOYED_VERSIONS}
  ORDER BY part.key`;

// ?1 subdomain, ?2 [{ preview, scriptName }] in order of preference, ?3 label. A script that is
// called as the whole label hides previews, even if it is not to be found there itself.
const PREVIEW = `
  WITH account AS (SELECT id FROM accounts WHERE subdomain = ?1),
  candidate AS (
    SELECT key, value ->> 'preview' AS preview, value ->> 'scriptName' AS name FROM json_each(?2)
  )
  SELECT 'preview' AS kind, NULL AS pattern, 100 AS percentage, ${TARGET_COLUMNS}
  FROM account JOIN candidate
  JOIN scripts s ON s.account_id = account.id AND s.name = candidate.name AND s.previews = 1
  JOIN versions v ON v.script_id = s.id AND (
    substr(v.id, 1, ${PREVIEW_ID_DIGITS}) = candidate.preview
    OR v.annotations ->> '$."workers/alias"' = candidate.preview
  )
  ${MARKS}
  WHERE NOT EXISTS (SELECT 1 FROM scripts WHERE account_id = account.id AND name = ?3)
  ORDER BY candidate.key, substr(v.id, 1, ${PREVIEW_ID_DIGITS}) = candidate.preview DESC,
    v.number DESC
  LIMIT 1`;

/**
 * All that is served under the host (lower case, no port), or undefined: routes, then a custom
 * domain, then the address of a script or of one of its versions.
 */
export async function findHost(env: Env, name: string): Promise<HostTable | undefined> {
  // Here the root's dot goes; a name that has one is not worth the time of every request.
  const host = toHostName(name);
  if (isApiHost(env, host)) return undefined;
  const domain = env.MAYFLY_DOMAIN;
  const address = parseAddress(domain, host);
  const previews = address ? previewCandidates(address.label) : [];

  const { CATALOG: db } = env;
  const served = db
    .prepare(SERVED)
    .bind(
      JSON.stringify(zoneCandidates(host)),
      host,
      subdomainOf(domain, host) ?? null,
      address?.subdomain ?? null,
      address?.label ?? null,
    );
  const preview = db
    .prepare(PREVIEW)
    .bind(address?.subdomain ?? null, JSON.stringify(previews), address?.label ?? null);
  const results = await db.batch<ServedRow>(previews.length > 0 ? [served, preview] : [served]);
  return toHostTable(results.flatMap(({ results }) => results));
}

/** The account's script of this name with its deployed versions, or undefined. */
export async function findScript(
  db: D1Database,
  accountId: string,
  scriptName: string,
): Promise<ScriptTarget | undefined> {
  const { results } = await db
    .prepare(
      `SELECT part.value ->> 'percentage' AS percentage, ${TARGET_COLUMNS}
      FROM scripts s ${DEPLOYED_VERSIONS}
      WHERE s.account_id = ? AND s.name = ? ORDER BY part.key`,
    )
    .bind(accountId, scriptName)
    .all<TargetRow>();
  return toScriptTarget(results);
}

/** The host and all it is below; nothing on Cloudflare's domain, where no zone can be. */
function zoneCandidates(host: string): string[] {
  if (host.endsWith(`.${WORKERS_DEV}`)) return [];
  const labels = host.split(".");
  return labels.map((_, index) => labels.slice(index).join("."));
}

function toHostTable(rows: ServedRow[]): HostTable | undefined {
  const of = (kind: ServedRow["kind"]): ServedRow[] => rows.filter((row) => row.kind === kind);
  const routes = Object.entries(Object.groupBy(of("route"), (row) => row.pattern ?? ""))
    .map(([pattern, rows = []]) => ({ pattern: parseRoutePattern(pattern), rows }))
    .sort((a, b) => compareRoutes(a.pattern, b.pattern))
    .map(({ pattern: { scheme, path, wildcard }, rows }): PathRoute => {
      return { scheme, path, wildcard, target: toScriptTarget(rows) };
    });
  const fallback =
    toScriptTarget(of("domain")) ??
    toScriptTarget(of("address").filter((row) => row.workers_dev === 1)) ??
    toScriptTarget(of("preview"));
  return routes.length > 0 || fallback ? { routes, fallback } : undefined;
}

/** The rows are of one script; undefined if none of its versions is deployed. */
function toScriptTarget(rows: TargetRow[]): ScriptTarget | undefined {
  const [first] = rows;
  if (!first?.version_id) return undefined;
  const { apart_until: until } = first;
  const tailed = first.tailed_until !== null && first.tailed_until > Date.now();
  const observe = observeOf(JSON.parse(first.settings) as ScriptSettings, tailed);
  return {
    accountId: first.account_id,
    scriptId: first.script_id,
    scriptName: first.script_name,
    versions: rows.map(toVersionTarget),
    ...(observe && { observe }),
    ...(first.budgeted === 1 && { budgets: true as const }),
    ...(until !== null &&
      until > Date.now() && {
        apart: { until, reason: first.apart_reason, culprit: first.apart_culprit === 1 },
      }),
  };
}
