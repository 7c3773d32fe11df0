import type { Usage } from "./meter.ts";

/** Longer than anybody tries to send a batch again. */
const BATCHES_KEPT_MS = 24 * 60 * 60_000;

const KEY = "account_id, script_name, version_id, trigger, minute";
const KEY_VALUES = `row.value ->> 'accountId', row.value ->> 'scriptName', row.value ->> 'versionId',
  row.value ->> 'trigger', row.value ->> 'minute'`;
const SUMS = {
  invocations: "invocations",
  errors: "errors",
  wall_time_ms: "wallTimeMs",
  cpu_time_us: "cpuTimeUs",
  subrequests: "subrequests",
  request_bytes: "requestBytes",
  response_bytes: "responseBytes",
};
const COLUMNS = Object.keys(SUMS);
// Without a condition SQLite would take ON for a part of the join.
const IS_NEW = "WHERE NOT EXISTS (SELECT 1 FROM usage_batches WHERE id = ?2)";

const ADD_USAGE = `
  INSERT INTO usage (${KEY}, ${COLUMNS.join(", ")})
  SELECT ${KEY_VALUES}, ${Object.values(SUMS)
    .map((member) => `row.value ->> '${member}'`)
    .join(", ")}
  FROM json_each(?1) row ${IS_NEW}
  ON CONFLICT DO UPDATE SET
    ${COLUMNS.map((column) => `${column} = ${column} + excluded.${column}`).join(", ")}`;

const ADD_OPERATIONS = `
  INSERT INTO usage_operations (${KEY}, operation, count)
  SELECT ${KEY_VALUES}, operation.key, operation.value
  FROM json_each(?1) row, json_each(row.value, '$.operations') operation ${IS_NEW}
  ON CONFLICT DO UPDATE SET count = count + excluded.count`;

/** Adds what has been used; false, and nothing, if a batch of this id has been added before. */
export async function addUsage(db: D1Database, batchId: string, usage: Usage[]): Promise<boolean> {
  const rows = JSON.stringify(usage);
  const now = Date.now();
  const [, , added] = await db.batch([
    db.prepare(ADD_USAGE).bind(rows, batchId),
    db.prepare(ADD_OPERATIONS).bind(rows, batchId),
    db
      .prepare("INSERT INTO usage_batches (id, at) VALUES (?, ?) ON CONFLICT DO NOTHING")
      .bind(batchId, now),
    db.prepare("DELETE FROM usage_batches WHERE at < ?").bind(now - BATCHES_KEPT_MS),
  ]);
  return (added?.meta.changes ?? 0) > 0;
}
