/** The documented memory of an isolate, which GB-seconds count. */
export const MEMORY_MB = 128;

/** What a number of invocations have used. */
export interface Sums {
  invocations: number;
  /** Those of them whose outcome was not `ok`. */
  errors: number;
  wall_time_ms: number;
  /** Estimated, to the microsecond: see docs/usage.md. */
  cpu_time_ms: number;
  /** Wall time at `MEMORY_MB`. */
  gb_seconds: number;
  subrequests: number;
  request_bytes: number;
  response_bytes: number;
  /** Calls of bindings by their names, such as `kv.get`. */
  operations: Record<string, number>;
}

/** What it is listed by, if it is: scripts and versions by name and id, times as ISO 8601. */
export interface Group {
  script_name?: string;
  version_id?: string;
  trigger?: string;
  minute?: string;
  hour?: string;
  day?: string;
  operation?: string;
}
export type UsageRow = Group & Sums;
/** With `operation` among the dimensions nothing else can be told apart. */
export type OperationRow = Group & { count: number };

/** Of so much wall time. */
export const gbSeconds = (wallTimeMs: number): number => (wallTimeMs * MEMORY_MB) / (1024 * 1000);

/** All rows in one. */
export function total(rows: Sums[]): Sums {
  const sums: Sums = {
    invocations: 0,
    errors: 0,
    wall_time_ms: 0,
    cpu_time_ms: 0,
    gb_seconds: 0,
    subrequests: 0,
    request_bytes: 0,
    response_bytes: 0,
    operations: {},
  };
  let cpuTimeUs = 0;
  for (const row of rows) {
    sums.invocations += row.invocations;
    sums.errors += row.errors;
    sums.wall_time_ms += row.wall_time_ms;
    cpuTimeUs += Math.round(row.cpu_time_ms * 1000);
    sums.subrequests += row.subrequests;
    sums.request_bytes += row.request_bytes;
    sums.response_bytes += row.response_bytes;
    for (const [name, count] of Object.entries(row.operations)) {
      sums.operations[name] = (sums.operations[name] ?? 0) + count;
    }
  }
  sums.cpu_time_ms = cpuTimeUs / 1000;
  sums.gb_seconds = gbSeconds(sums.wall_time_ms);
  return sums;
}
