import type { LeaseRequest } from "./protocol.ts";
import { startOf, type Period } from "./period.ts";

/** What has been used in the current period by a scope: the account (""), or its script of that name. */
export interface Counter {
  scope: string;
  period: Period;
  /** When the period began, in milliseconds since 1970. */
  start: number;
  /**
   * Invocations that executors were granted, and those of before. Undefined if they are not counted ahead
   * since nothing caps them.
   */
  charged: number | undefined;
  /** Since when `charged` is counted: what was granted before is not in it. */
  chargedSince: number;
  /** What reports told: invocations that have ended, and their CPU time. */
  invocations: number;
  cpuUs: number;
}

/** What a process was granted for a script. */
export interface LeaseRow {
  process: string;
  scriptId: string;
  scriptName: string;
  number: number;
  granted: number;
  /** As far as is known. */
  spent: number;
  grantedAt: number;
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS counters (
    scope TEXT NOT NULL,
    period TEXT NOT NULL,
    start INTEGER NOT NULL,
    charged INTEGER,
    charged_since INTEGER NOT NULL DEFAULT 0,
    invocations INTEGER NOT NULL,
    cpu_us INTEGER NOT NULL,
    PRIMARY KEY (scope, period)
  );
  CREATE TABLE IF NOT EXISTS leases (
    process TEXT NOT NULL,
    script_id TEXT NOT NULL,
    script_name TEXT NOT NULL,
    number INTEGER NOT NULL,
    granted INTEGER NOT NULL,
    spent INTEGER NOT NULL,
    granted_at INTEGER NOT NULL,
    PRIMARY KEY (process, script_id)
  );
  -- Processes that are gone, or that cannot be asked any more.
  CREATE TABLE IF NOT EXISTS lost (process TEXT PRIMARY KEY, at INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS throttles (
    budget TEXT PRIMARY KEY,
    second INTEGER NOT NULL,
    granted INTEGER NOT NULL
  );
  CREATE TABLE IF NOT EXISTS reports (id TEXT PRIMARY KEY, at INTEGER NOT NULL);
  CREATE INDEX IF NOT EXISTS reports_by_time ON reports (at);
  CREATE TABLE IF NOT EXISTS turns (turn INTEGER NOT NULL);
`;

const LEASE = `process, script_id AS scriptId, script_name AS scriptName, number, granted, spent,
  granted_at AS grantedAt`;
/** What may still be spent, by processes that can be asked. */
const HELD = `FROM leases WHERE granted > spent AND process NOT IN (SELECT process FROM lost)`;
/** Of a scope; ?1 is it. */
const IN_SCOPE = "(?1 = '' OR script_name = ?1)";

/** The longest that a report is sent again. */
const REPORTS_KEPT_MS = 24 * 60 * 60_000;

/** The tables of an account's budgets. Each method is one change; callers join them in a transaction. */
export class BudgetStore {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(SCHEMA);
  }

  counters(): Counter[] {
    return this.#sql
      .exec<Record<string, SqlStorageValue>>("SELECT * FROM counters")
      .toArray()
      .map((row) => ({
        scope: row["scope"] as string,
        period: row["period"] as Period,
        start: row["start"] as number,
        charged: (row["charged"] as number | null) ?? undefined,
        chargedSince: row["charged_since"] as number,
        invocations: row["invocations"] as number,
        cpuUs: row["cpu_us"] as number,
      }));
  }

  putCounter({ scope, period, start, charged, chargedSince, invocations, cpuUs }: Counter): void {
    this.#sql.exec(
      "INSERT OR REPLACE INTO counters VALUES (?, ?, ?, ?, ?, ?, ?)",
      scope,
      period,
      start,
      charged ?? null,
      chargedSince,
      invocations,
      cpuUs,
    );
  }

  deleteCounter({ scope, period }: Counter): void {
    this.#sql.exec("DELETE FROM counters WHERE scope = ? AND period = ?", scope, period);
  }

  /** Counters of a period that is over begin anew. */
  beginPeriods(now: number): void {
    for (const period of ["day", "month"] as const) {
      const start = startOf(period, now);
      this.#sql.exec(
        `UPDATE counters SET start = ?1, charged = CASE WHEN charged IS NULL THEN NULL ELSE 0 END,
          charged_since = ?1, invocations = 0, cpu_us = 0
        WHERE period = ?2 AND start < ?1`,
        start,
        period,
      );
    }
  }

  /** Adds to what the script's counters, and the account's, were charged: of grants of that time. */
  charge(scriptName: string, count: number, grantedAt: number): void {
    if (count === 0) return;
    this.#sql.exec(
      "UPDATE counters SET charged = charged + ? WHERE scope IN ('', ?) AND charged_since <= ?",
      count,
      scriptName,
      grantedAt,
    );
  }

  /** Adds what a report tells of a script in a minute (since 1970). */
  add(scriptName: string, minute: number, invocations: number, cpuUs: number): void {
    this.#sql.exec(
      `UPDATE counters SET invocations = invocations + ?, cpu_us = cpu_us + ?
      WHERE scope IN ('', ?) AND start <= ?`,
      invocations,
      cpuUs,
      scriptName,
      minute * 60_000,
    );
  }

  /** Whether the report is a new one; it is none any more after that. */
  isNew(reportId: string, now: number): boolean {
    this.#sql.exec("DELETE FROM reports WHERE at < ?", now - REPORTS_KEPT_MS);
    return this.remember([reportId], now) > 0;
  }

  /** These reports are not new any more; how many of them were. */
  remember(reportIds: string[], now: number): number {
    const [row] = this.#sql.exec<{ count: number }>(
      "SELECT count(*) AS count FROM json_each(?) WHERE value NOT IN (SELECT id FROM reports)",
      JSON.stringify(reportIds),
    );
    this.#sql.exec(
      "INSERT OR IGNORE INTO reports SELECT value, ? FROM json_each(?)",
      now,
      JSON.stringify(reportIds),
    );
    return row?.count ?? 0;
  }

  lease(processId: string, scriptId: string): LeaseRow | undefined {
    const [row] = this.#sql.exec<Record<string, SqlStorageValue>>(
      `SELECT ${LEASE} FROM leases WHERE process = ? AND script_id = ?`,
      processId,
      scriptId,
    );
    return row as unknown as LeaseRow | undefined;
  }

  putLease(
    { processId, scriptId, scriptName, number, spent }: LeaseRequest,
    granted: number,
    now: number,
  ): void {
    this.#sql.exec(
      "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?, ?)",
      processId,
      scriptId,
      scriptName,
      number,
      granted,
      spent,
      now,
    );
  }

  /** The process holds nothing of what it was granted for the script, but for what it has spent. */
  settle(row: LeaseRow, spent: number): void {
    this.charge(row.scriptName, spent - row.granted, row.grantedAt);
    this.#sql.exec(
      "UPDATE leases SET granted = ?1, spent = ?1 WHERE process = ?2 AND script_id = ?3",
      spent,
      row.process,
      row.scriptId,
    );
  }

  /** What was granted before all periods that count is of no use any more. */
  deleteLeasesBefore(time: number): void {
    this.#sql.exec("DELETE FROM leases WHERE granted_at < ?", time);
    this.#sql.exec("DELETE FROM lost WHERE process NOT IN (SELECT process FROM leases)");
  }

  /** How many invocations of the scope executors may still begin, that can be asked. */
  held(scope: string): number {
    const [row] = this.#sql.exec<{ held: number }>(
      `SELECT coalesce(sum(granted - spent), 0) AS held ${HELD} AND ${IN_SCOPE}`,
      scope,
    );
    return row?.held ?? 0;
  }

  /** All processes that hold something and are not among those that answered cannot be asked any more. */
  loseOthers(processIds: string[], now: number): void {
    this.#sql.exec(
      `INSERT OR IGNORE INTO lost SELECT DISTINCT process, ?1 ${HELD}
        AND process NOT IN (SELECT value FROM json_each(?2))`,
      now,
      JSON.stringify(processIds),
    );
  }

  /** The process has been heard of. */
  find(processId: string): void {
    this.#sql.exec("DELETE FROM lost WHERE process = ?", processId);
  }

  /** What the budget has let through in this second (since 1970). */
  throttled(budget: string, second: number): number {
    const [row] = this.#sql.exec<{ granted: number }>(
      "SELECT granted FROM throttles WHERE budget = ? AND second = ?",
      budget,
      second,
    );
    return row?.granted ?? 0;
  }

  throttle(budget: string, second: number, count: number): void {
    this.#sql.exec(
      "INSERT OR REPLACE INTO throttles VALUES (?, ?, ?)",
      budget,
      second,
      this.throttled(budget, second) + count,
    );
  }

  nextTurn(): number {
    const turn = this.turn() + 1;
    this.#sql.exec("DELETE FROM turns");
    this.#sql.exec("INSERT INTO turns VALUES (?)", turn);
    return turn;
  }

  turn(): number {
    const [row] = this.#sql.exec<{ turn: number }>("SELECT turn FROM turns");
    return row?.turn ?? 0;
  }
}
