import { gbSeconds, type Group, type OperationRow, type Sums, type UsageRow } from "./rows.ts";
import { minuteToText, type TimeRange } from "./time-range.ts";

/** What usage can be listed by: the column that the API shows, and what it is in the table. */
const DIMENSIONS = {
  script: { name: "script_name", column: "script_name" },
  version: { name: "version_id", column: "version_id" },
  trigger: { name: "trigger", column: "trigger" },
  minute: { name: "minute", column: "minute" },
  hour: { name: "hour", column: "minute / 60 * 60" },
  day: { name: "day", column: "minute / 1440 * 1440" },
  operation: { name: "operation", column: "operation" },
} as const;
export type Dimension = keyof typeof DIMENSIONS;
export const dimensions = Object.keys(DIMENSIONS) as Dimension[];
/** Of these only one makes sense. */
export const TIMES_OF_DAY: readonly Dimension[] = ["minute", "hour", "day"];

/** More rows than this are not given: see `TooManyRowsError`. */
export const MAX_ROWS = 10_000;
/** There are some of them for each row. */
const MAX_OPERATION_ROWS = 20 * MAX_ROWS;

export interface UsageQuery {
  range: TimeRange;
  /** Only this script. */
  script?: string | undefined;
  by: readonly Dimension[];
}

export class TooManyRowsError extends Error {
  override readonly name = "TooManyRowsError";
}

type Row = Record<string, string | number>;

/** The account's usage, a row for each group that has any, in the order of what it is listed by. */
export async function queryUsage(
  db: D1Database,
  accountId: string,
  query: UsageQuery,
): Promise<UsageRow[]> {
  const rows = await select(
    db,
    "usage",
    `sum(invocations) AS invocations, sum(errors) AS errors, sum(wall_time_ms) AS wall_time_ms,
     sum(cpu_time_us) AS cpu_time_us, sum(subrequests) AS subrequests,
     sum(request_bytes) AS request_bytes, sum(response_bytes) AS response_bytes`,
    accountId,
    query,
  );
  const operations = await queryOperations(db, accountId, {
    ...query,
    by: [...query.by, "operation"],
  });
  const keyOf = (row: Group): string =>
    JSON.stringify(query.by.map((dimension) => row[DIMENSIONS[dimension].name]));
  const byKey = new Map<string, Record<string, number>>();
  for (const row of operations) {
    const key = keyOf(row);
    const known = byKey.get(key) ?? {};
    byKey.set(key, Object.assign(known, { [row.operation as string]: row.count }));
  }
  return rows.map(({ cpu_time_us, ...row }) => ({
    ...(row as unknown as Group & Omit<Sums, "cpu_time_ms" | "gb_seconds" | "operations">),
    cpu_time_ms: Number(cpu_time_us) / 1000,
    gb_seconds: gbSeconds(Number(row["wall_time_ms"])),
    operations: byKey.get(keyOf(row as Group)) ?? {},
  }));
}

/** How often the account's workers have called which binding; `by` must have `operation` in it. */
export async function queryOperations(
  db: D1Database,
  accountId: string,
  query: UsageQuery,
): Promise<OperationRow[]> {
  return (await select(
    db,
    "usage_operations",
    "sum(count) AS count",
    accountId,
    query,
  )) as unknown as OperationRow[];
}

async function select(
  db: D1Database,
  table: "usage" | "usage_operations",
  sums: string,
  accountId: string,
  { by, range, script }: UsageQuery,
): Promise<Row[]> {
  const groups = by.map((dimension) => DIMENSIONS[dimension]);
  const columns = groups.map(({ name, column }) => `${column} AS ${name}`);
  // Without a group SQL gives a row also where there is nothing.
  const order = groups.map((_, index) => index + 1).join(", ") || "account_id";
  const limit = table === "usage" ? MAX_ROWS : MAX_OPERATION_ROWS;
  const { results } = await db
    .prepare(
      `SELECT ${[...columns, sums].join(", ")} FROM ${table}
       WHERE account_id = ?1 AND minute >= ?2 AND minute < ?3 AND (?4 IS NULL OR script_name = ?4)
       GROUP BY ${order} ORDER BY ${order} LIMIT ${limit + 1}`,
    )
    .bind(accountId, range.since, range.until, script ?? null)
    .all<Row>();
  if (results.length > limit) throw new TooManyRowsError();
  for (const row of results) {
    for (const name of TIMES_OF_DAY) {
      if (row[name] !== undefined) row[name] = minuteToText(row[name] as number);
    }
  }
  return results;
}
