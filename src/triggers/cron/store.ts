import type { ScheduledCron } from "../../catalog/schedules.ts";
import type { Outcome } from "../../pipeline/record.ts";
import type { CronRun } from "./protocol.ts";

/** A cron with the slot that it waits for. */
export interface WaitingCron extends ScheduledCron {
  nextAt: number;
}

// A run waits (due_at is set), is under way (neither due_at nor ended_at is), or is over (ended_at is).
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS crons (
    script_id TEXT NOT NULL,
    cron TEXT NOT NULL,
    account_id TEXT NOT NULL,
    script_name TEXT NOT NULL,
    catch_up TEXT NOT NULL,
    next_at INTEGER,
    PRIMARY KEY (script_id, cron)
  );
  CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    script_id TEXT NOT NULL,
    cron TEXT NOT NULL,
    scheduled_time INTEGER NOT NULL,
    account_id TEXT NOT NULL,
    script_name TEXT NOT NULL,
    caught_up INTEGER NOT NULL,
    due_at INTEGER,
    started_at INTEGER,
    ended_at INTEGER,
    outcome TEXT,
    error TEXT,
    tries INTEGER NOT NULL DEFAULT 0,
    no_retry INTEGER NOT NULL DEFAULT 0,
    UNIQUE (script_id, cron, scheduled_time)
  );
  CREATE INDEX IF NOT EXISTS crons_by_slot ON crons (next_at);
  CREATE INDEX IF NOT EXISTS unfinished_runs ON runs (due_at) WHERE ended_at IS NULL;
  CREATE INDEX IF NOT EXISTS unfinished_runs_by_cron ON runs (script_id, cron)
    WHERE ended_at IS NULL;
  CREATE INDEX IF NOT EXISTS runs_by_account ON runs (account_id, id);
`;

const CRON = `script_id AS scriptId, account_id AS accountId, script_name AS scriptName, cron,
  catch_up AS catchUp, next_at AS nextAt`;

// While missed slots of a cron are caught up, one after the other, later ones wait for their turn.
const FREE = `NOT (catch_up = 'all' AND EXISTS (
  SELECT 1 FROM runs r
  WHERE r.script_id = c.script_id AND r.cron = c.cron AND r.ended_at IS NULL AND r.caught_up
))`;

type RunRow = Record<string, SqlStorageValue>;

const toRun = (row: RunRow): CronRun => ({
  id: row["id"] as number,
  scriptId: row["script_id"] as string,
  accountId: row["account_id"] as string,
  scriptName: row["script_name"] as string,
  cron: row["cron"] as string,
  scheduledTime: row["scheduled_time"] as number,
  caughtUp: row["caught_up"] === 1,
  startedAt: (row["started_at"] as number | null) ?? undefined,
  endedAt: (row["ended_at"] as number | null) ?? undefined,
  outcome: (row["outcome"] as Outcome | null) ?? undefined,
  error: (row["error"] as string | null) ?? undefined,
  tries: row["tries"] as number,
  noRetry: row["no_retry"] === 1,
});

/** The scheduler's tables: which crons there are, and their runs. */
export class CronStore {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(SCHEMA);
  }

  /** The crons of one script, or of all; those that are never due again, too. */
  crons(scriptId?: string): (ScheduledCron & { nextAt: number | null })[] {
    return this.#sql
      .exec<RunRow>(
        `SELECT ${CRON} FROM crons WHERE ?1 IS NULL OR script_id = ?1`,
        scriptId ?? null,
      )
      .toArray() as unknown as (ScheduledCron & { nextAt: number | null })[];
  }

  /** Adds the cron, or changes what is known of it but for its next slot. */
  setCron(cron: ScheduledCron, nextAt: number | undefined): void {
    this.#sql.exec(
      `INSERT INTO crons (script_id, cron, account_id, script_name, catch_up, next_at)
       VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET script_name = excluded.script_name, catch_up = excluded.catch_up`,
      cron.scriptId,
      cron.cron,
      cron.accountId,
      cron.scriptName,
      cron.catchUp,
      nextAt ?? null,
    );
  }

  /** Removes the cron. Its runs that wait are over. */
  deleteCron(scriptId: string, cron: string, now: number): void {
    this.#sql.exec("DELETE FROM crons WHERE script_id = ? AND cron = ?", scriptId, cron);
    this.#sql.exec(
      `UPDATE runs SET due_at = NULL, ended_at = ?, outcome = 'canceled', error = 'The cron was removed'
       WHERE script_id = ? AND cron = ? AND ended_at IS NULL AND due_at IS NOT NULL`,
      now,
      scriptId,
      cron,
    );
  }

  /** The cron's runs that have not begun yet are over; how many. */
  passOverRuns({ scriptId, cron }: ScheduledCron, now: number): number {
    const passedOver = this.#sql.exec(
      `UPDATE runs SET due_at = NULL, ended_at = ?, outcome = 'canceled',
         error = 'Not begun before the next slot came'
       WHERE script_id = ? AND cron = ? AND ended_at IS NULL AND due_at IS NOT NULL AND tries = 0
       RETURNING id`,
      now,
      scriptId,
      cron,
    );
    return passedOver.toArray().length;
  }

  hasCron(scriptId: string, cron: string): boolean {
    return this.crons(scriptId).some((known) => known.cron === cron);
  }

  /** Ids of all scripts with runs. */
  scriptsWithRuns(): string[] {
    const rows = this.#sql.exec<{ id: string }>("SELECT DISTINCT script_id AS id FROM runs");
    return rows.toArray().map(({ id }) => id);
  }

  deleteRuns(scriptId: string): void {
    this.#sql.exec("DELETE FROM runs WHERE script_id = ?", scriptId);
  }

  /** Crons whose slot has come, the longest waiting first. */
  dueCrons(now: number, limit: number): WaitingCron[] {
    return this.#sql
      .exec<RunRow>(
        `SELECT ${CRON} FROM crons c WHERE next_at <= ? AND ${FREE} ORDER BY next_at LIMIT ?`,
        now,
        limit,
      )
      .toArray() as unknown as WaitingCron[];
  }

  /** The earliest slot of all crons. */
  nextSlot(): number | undefined {
    const [row] = this.#sql.exec<{ at: number }>(
      `SELECT next_at AS at FROM crons c WHERE next_at IS NOT NULL AND ${FREE} ORDER BY next_at LIMIT 1`,
    );
    return row?.at;
  }

  setNextAt({ scriptId, cron }: ScheduledCron, nextAt: number | undefined): void {
    this.#sql.exec(
      "UPDATE crons SET next_at = ? WHERE script_id = ? AND cron = ?",
      nextAt ?? null,
      scriptId,
      cron,
    );
  }

  /** Adds a run that is due at once, unless there is one of this cron and slot. */
  addRun(cron: ScheduledCron, scheduledTime: number, caughtUp: boolean, now: number): void {
    this.#sql.exec(
      `INSERT INTO runs (script_id, cron, scheduled_time, account_id, script_name, caught_up, due_at)
       VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
      cron.scriptId,
      cron.cron,
      scheduledTime,
      cron.accountId,
      cron.scriptName,
      caughtUp ? 1 : 0,
      now,
    );
  }

  findRun(scriptId: string, cron: string, scheduledTime: number): CronRun | undefined {
    const [row] = this.#sql.exec<RunRow>(
      "SELECT * FROM runs WHERE script_id = ? AND cron = ? AND scheduled_time = ?",
      scriptId,
      cron,
      scheduledTime,
    );
    return row && toRun(row);
  }

  deleteRun(id: number): void {
    this.#sql.exec("DELETE FROM runs WHERE id = ?", id);
  }

  /** The account's newest runs, of one script or of all; newest first. */
  listRuns(accountId: string, scriptId: string | undefined, limit: number): CronRun[] {
    const rows = this.#sql.exec<RunRow>(
      `SELECT * FROM runs WHERE account_id = ?1 AND (?2 IS NULL OR script_id = ?2)
       ORDER BY id DESC LIMIT ?3`,
      accountId,
      scriptId ?? null,
      limit,
    );
    return rows.toArray().map(toRun);
  }

  /** The runs that are due, in the order of their slots. */
  dueRuns(now: number): CronRun[] {
    const rows = this.#sql.exec<RunRow>(
      "SELECT * FROM runs WHERE ended_at IS NULL AND due_at <= ? ORDER BY scheduled_time, id",
      now,
    );
    return rows.toArray().map(toRun);
  }

  /** When the first of the runs is due that are not due by `now`. */
  nextDue(now: number): number | undefined {
    const [row] = this.#sql.exec<{ at: number | null }>(
      "SELECT min(due_at) AS at FROM runs WHERE ended_at IS NULL AND due_at > ?",
      now,
    );
    return row?.at ?? undefined;
  }

  /** The runs that are under way. */
  runningRuns(): CronRun[] {
    const rows = this.#sql.exec<RunRow>(
      "SELECT * FROM runs WHERE ended_at IS NULL AND due_at IS NULL",
    );
    return rows.toArray().map(toRun);
  }

  /** The run is under way, for one more time; false if it is no longer wanted. */
  beginRun(id: number, now: number): boolean {
    return (
      this.#sql.exec(
        "UPDATE runs SET due_at = NULL, started_at = ?, tries = tries + 1 WHERE id = ? AND due_at IS NOT NULL",
        now,
        id,
      ).rowsWritten > 0
    );
  }

  /** The run could not be given to the worker and waits again, as if it had not been tried. */
  postponeRun(id: number, dueAt: number): void {
    this.#sql.exec("UPDATE runs SET due_at = ?, tries = tries - 1 WHERE id = ?", dueAt, id);
  }

  /** The run waits to be run again. */
  repeatRun(id: number, dueAt: number): void {
    this.#sql.exec("UPDATE runs SET due_at = ? WHERE id = ?", dueAt, id);
  }

  forbidRetry(id: number): void {
    this.#sql.exec("UPDATE runs SET no_retry = 1 WHERE id = ?", id);
  }

  /** The run is over. Of its cron's runs that are, the newest slots are kept, so many of them. */
  endRun(
    { id, scriptId, cron }: CronRun,
    now: number,
    outcome: Outcome,
    error: string | undefined,
    keptCount: number,
  ): void {
    this.#sql.exec(
      "UPDATE runs SET due_at = NULL, ended_at = ?, outcome = ?, error = ? WHERE id = ?",
      now,
      outcome,
      error ?? null,
      id,
    );
    this.#sql.exec(
      `DELETE FROM runs
       WHERE script_id = ?1 AND cron = ?2 AND ended_at IS NOT NULL AND scheduled_time <= (
         SELECT scheduled_time FROM runs
         WHERE script_id = ?1 AND cron = ?2 AND ended_at IS NOT NULL
         ORDER BY scheduled_time DESC LIMIT 1 OFFSET ?3
       )`,
      scriptId,
      cron,
      keptCount,
    );
  }

  /** What is known of the run by now; undefined if it was removed. */
  reloadRun(id: number): CronRun | undefined {
    const [row] = this.#sql.exec<RunRow>("SELECT * FROM runs WHERE id = ?", id);
    return row && toRun(row);
  }
}
