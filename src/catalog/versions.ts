import type { Isolation, VersionTarget } from "./routing.ts";
import type { ModuleType, SourceBinding } from "./source.ts";

/** An immutable upload of a script. Its code is in the bucket, its secrets in a table of their own. */
export interface Version {
  /** UUID. */
  id: string;
  scriptId: string;
  /** From 1, in the order of making; the highest is the latest. */
  number: number;
  createdAt: string;
  /** What sent it: "wrangler", or "api" for anything else. */
  source: string;
  /** Name of the token that sent it. */
  author: string;
  /** The same for uploads of the same content; see `hashUpload`. */
  uploadHash: string;
  mainModule: string;
  modules: StoredModule[];
  bindings: StoredBinding[];
  compatibilityDate: string;
  compatibilityFlags: string[];
  /** Cloudflare's: `workers/message`, `workers/tag`, `workers/triggered_by` … */
  annotations: Record<string, string>;
  /** Names of the default export's handlers. */
  handlers: string[];
  /** What else the upload said, in the API's shape. */
  metadata: Record<string, unknown>;
  startupTimeMs: number;
  isolation: Isolation;
  wallTimeMs: number;
  cpuMs: number | undefined;
  codeBytes: number;
}

/** A module without its content, which is in the bucket under its hash. */
export interface StoredModule {
  name: string;
  type: ModuleType;
  /** SHA-256 in hex. */
  hash: string;
  /** In bytes. */
  size: number;
}

/** A binding in Cloudflare's shape as its API shows it: secrets without their text. */
export type StoredBinding =
  | Exclude<SourceBinding, { type: "plain_text" | "secret_text" }>
  | { type: "plain_text"; name: string; text: string }
  | { type: "secret_text"; name: string };

/** What is known of a version that is served, to be turned into a `VersionTarget`. */
export interface VersionTargetRow {
  version_id: string;
  script_id: string;
  percentage: number;
  isolation: Isolation;
  wall_time_ms: number;
  cpu_ms: number | null;
  code_bytes: number;
  tag: string | null;
  message: string | null;
}

export function toVersionTarget(row: VersionTargetRow): VersionTarget {
  return {
    versionId: row.version_id,
    scriptId: row.script_id,
    percentage: row.percentage,
    isolation: row.isolation,
    wallTimeMs: row.wall_time_ms,
    ...(row.cpu_ms !== null && { cpuMs: row.cpu_ms }),
    codeBytes: row.code_bytes,
    ...(row.tag !== null && { tag: row.tag }),
    ...(row.message !== null && { message: row.message }),
  };
}

interface Row {
  id: string;
  script_id: string;
  number: number;
  created_at: string;
  source: string;
  author: string;
  upload_hash: string;
  main_module: string;
  modules: string;
  bindings: string;
  compatibility_date: string;
  compatibility_flags: string;
  annotations: string;
  handlers: string;
  metadata: string;
  startup_time_ms: number;
  isolation: Isolation;
  wall_time_ms: number;
  cpu_ms: number | null;
  code_bytes: number;
}

const fromRow = (row: Row): Version => ({
  id: row.id,
  scriptId: row.script_id,
  number: row.number,
  createdAt: row.created_at,
  source: row.source,
  author: row.author,
  uploadHash: row.upload_hash,
  mainModule: row.main_module,
  modules: JSON.parse(row.modules) as StoredModule[],
  bindings: JSON.parse(row.bindings) as StoredBinding[],
  compatibilityDate: row.compatibility_date,
  compatibilityFlags: JSON.parse(row.compatibility_flags) as string[],
  annotations: JSON.parse(row.annotations) as Record<string, string>,
  handlers: JSON.parse(row.handlers) as string[],
  metadata: JSON.parse(row.metadata) as Record<string, unknown>,
  startupTimeMs: row.startup_time_ms,
  isolation: row.isolation,
  wallTimeMs: row.wall_time_ms,
  cpuMs: row.cpu_ms ?? undefined,
  codeBytes: row.code_bytes,
});

/** The script's versions, newest first. */
export async function listVersions(
  db: D1Database,
  scriptId: string,
  limit: number,
  offset = 0,
): Promise<Version[]> {
  const { results } = await db
    .prepare("SELECT * FROM versions WHERE script_id = ? ORDER BY number DESC LIMIT ? OFFSET ?")
    .bind(scriptId, limit, offset)
    .all<Row>();
  return results.map(fromRow);
}

/** How many versions the script has. */
export async function countVersions(db: D1Database, scriptId: string): Promise<number> {
  const count = await db
    .prepare("SELECT count(*) AS count FROM versions WHERE script_id = ?")
    .bind(scriptId)
    .first<number>("count");
  return count ?? 0;
}

/** The script's newest version, or undefined. */
export async function latestVersion(
  db: D1Database,
  scriptId: string,
): Promise<Version | undefined> {
  const [version] = await listVersions(db, scriptId, 1);
  return version;
}

/** The versions of the script among those with the ids, in no order. */
export async function findVersions(
  db: D1Database,
  scriptId: string,
  ids: string[],
): Promise<Version[]> {
  const { results } = await db
    .prepare(
      "SELECT * FROM versions WHERE script_id = ? AND id IN (SELECT value FROM json_each(?))",
    )
    .bind(scriptId, JSON.stringify(ids))
    .all<Row>();
  return results.map(fromRow);
}

/**
 * Inserts the version if its number is the next of the script, which must exist by then; otherwise
 * changes nothing, so that two versions made from the same predecessor cannot both be saved. Its
 * result is the script's id as `script_id`.
 */
export function insertVersion(
  db: D1Database,
  accountId: string,
  scriptName: string,
  version: Omit<Version, "scriptId">,
): D1PreparedStatement {
  const columns = {
    id: version.id,
    number: version.number,
    created_at: version.createdAt,
    source: version.source,
    author: version.author,
    upload_hash: version.uploadHash,
    main_module: version.mainModule,
    modules: JSON.stringify(version.modules),
    bindings: JSON.stringify(version.bindings),
    compatibility_date: version.compatibilityDate,
    compatibility_flags: JSON.stringify(version.compatibilityFlags),
    annotations: JSON.stringify(version.annotations),
    handlers: JSON.stringify(version.handlers),
    metadata: JSON.stringify(version.metadata),
    startup_time_ms: version.startupTimeMs,
    isolation: version.isolation,
    wall_time_ms: version.wallTimeMs,
    cpu_ms: version.cpuMs ?? null,
    code_bytes: version.codeBytes,
  } satisfies Omit<Row, "script_id">;
  const names = Object.keys(columns);
  return db
    .prepare(
      `INSERT INTO versions (script_id, ${names.join(", ")})
      SELECT s.id, ${names.map(() => "?").join(", ")} FROM scripts s
      WHERE s.account_id = ? AND s.name = ?
        AND (SELECT coalesce(max(number), 0) FROM versions WHERE script_id = s.id) = ?
      RETURNING script_id`,
    )
    .bind(...Object.values(columns), accountId, scriptName, version.number - 1);
}
