/** Minutes are told apart for so long, */
const MINUTES_KEPT = 8 * 24 * 60;
/** hours of a day for 13 months, and days for ever. */
const HOURS_KEPT = 400 * 24 * 60;
const EVERY_MS = 60 * 60_000;

const TABLES = {
  usage: {
    key: "account_id, script_name, version_id, trigger",
    sums: [
      "invocations",
      "errors",
      "wall_time_ms",
      "cpu_time_us",
      "subrequests",
      "request_bytes",
      "response_bytes",
    ],
  },
  usage_operations: {
    key: "account_id, script_name, version_id, trigger, operation",
    sums: ["count"],
  },
};

let rolledUpAt = 0;

/** Once an hour, makes old minutes hours and old hours days. No sum changes by that. */
export async function rollUpNowAndThen(db: D1Database, now = Date.now()): Promise<void> {
  if (now - rolledUpAt < EVERY_MS) return;
  rolledUpAt = now;
  const minute = Math.floor(now / 60_000);
  await db.batch([
    ...statements(db, 60, minute - MINUTES_KEPT),
    ...statements(db, 24 * 60, minute - HOURS_KEPT),
  ]);
}

// What begins with an hour has its minute already, so the rest is added to it, and then goes.
function statements(db: D1Database, unit: number, before: number): D1PreparedStatement[] {
  return Object.entries(TABLES).flatMap(([table, { key, sums }]) => {
    const old = `minute < ?1 AND minute % ${unit} <> 0`;
    const add = `
      INSERT INTO ${table} (${key}, minute, ${sums.join(", ")})
      SELECT ${key}, minute - minute % ${unit} AS first, ${sums.map((sum) => `sum(${sum})`).join(", ")}
      FROM ${table} WHERE ${old} GROUP BY ${key}, first
      ON CONFLICT DO UPDATE SET ${sums.map((sum) => `${sum} = ${sum} + excluded.${sum}`).join(", ")}`;
    return [add, `DELETE FROM ${table} WHERE ${old}`].map((sql) =>
      db.prepare(sql).bind(before - (before % unit)),
    );
  });
}
