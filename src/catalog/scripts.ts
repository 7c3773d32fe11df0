import { randomHex } from "./crypto.ts";

/** A worker: a name with versions, of which a deployment says which get traffic. */
export interface Script {
  /** 32 hex digits. */
  id: string;
  accountId: string;
  name: string;
  createdAt: string;
  modifiedAt: string;
  /** Whether it is found at `<script>.<subdomain>`, and its versions at their preview addresses. */
  workersDev: boolean;
  previews: boolean;
  settings: ScriptSettings;
}

/** What is set for a script and not per version, in the API's shape. */
export interface ScriptSettings {
  tags?: string[] | undefined;
  logpush?: boolean | undefined;
  observability?: Observability | undefined;
  /** The account's scripts whose `tail()` handlers are told of its invocations. */
  tail_consumers?: TailConsumer[] | undefined;
}

export interface TailConsumer {
  service: string;
  environment?: string | undefined;
}

/** Whose invocations are kept, how many of them and what of each: see docs/observability.md. */
export interface Observability extends Sampling {
  redact_query_string?: boolean | undefined;
  issues?: { enabled?: boolean | undefined } | undefined;
  logs?: (Exported & { invocation_logs?: boolean | undefined }) | undefined;
  traces?: Exported | undefined;
}

interface Sampling {
  enabled?: boolean | undefined;
  /** From 0 to 1; all if missing. */
  head_sampling_rate?: number | undefined;
}

interface Exported extends Sampling {
  destinations?: string[] | undefined;
  persist?: boolean | undefined;
}

interface Row {
  id: string;
  account_id: string;
  name: string;
  created_at: string;
  modified_at: string;
  workers_dev: number;
  previews: number;
  settings: string;
}

const fromRow = (row: Row): Script => ({
  id: row.id,
  accountId: row.account_id,
  name: row.name,
  createdAt: row.created_at,
  modifiedAt: row.modified_at,
  workersDev: row.workers_dev === 1,
  previews: row.previews === 1,
  settings: JSON.parse(row.settings) as ScriptSettings,
});

/** The account's scripts by name. */
export async function listScripts(db: D1Database, accountId: string): Promise<Script[]> {
  const { results } = await db
    .prepare("SELECT * FROM scripts WHERE account_id = ? ORDER BY name")
    .bind(accountId)
    .all<Row>();
  return results.map(fromRow);
}

/** The account's script of this name, or undefined. */
export async function getScript(
  db: D1Database,
  accountId: string,
  name: string,
): Promise<Script | undefined> {
  const row = await db
    .prepare("SELECT * FROM scripts WHERE account_id = ? AND name = ?")
    .bind(accountId, name)
    .first<Row>();
  return row ? fromRow(row) : undefined;
}

/** Inserts the script unless the account has one of this name. */
export function insertScript(
  db: D1Database,
  accountId: string,
  name: string,
  createdAt: string,
): D1PreparedStatement {
  return db
    .prepare(
      "INSERT INTO scripts (id, account_id, name, created_at, modified_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(randomHex(16), accountId, name, createdAt, createdAt);
}

/** Replaces the settings that are given and keeps the others; all that hold afterwards. */
export async function updateSettings(
  db: D1Database,
  script: Script,
  changes: ScriptSettings,
): Promise<ScriptSettings> {
  const settings = { ...script.settings, ...changes };
  await db
    .prepare("UPDATE scripts SET settings = ?, modified_at = ? WHERE id = ?")
    .bind(JSON.stringify(settings), new Date().toISOString(), script.id)
    .run();
  return settings;
}
