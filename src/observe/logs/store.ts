import { KEPT_COLUMNS, type KeptLogs } from "./kept-row.ts";
import { formOf } from "./line.ts";
import type { LogsCursor } from "./protocol.ts";

/** A row of `invocations`. */
export interface InvocationRow {
  id: string;
  started_at: number;
  trigger: string | null;
  /** Null until it has ended. */
  outcome: string | null;
  /** Place in `LEVELS`. */
  level: number;
  /** How many there are. */
  lines: number;
  bytes: number;
  truncated: 0 | 1;
  /** `KeptRest` as JSON. */
  rest: string;
  /** Number of the last change that told something new of it. */
  changed: number;
}

/** A row of `lines`; see `StoredLine`. */
export interface LineRow {
  invocation: string;
  level: number;
  at: number;
  form: number;
  text: string;
}

/** What is looked for among invocations alone; lines are looked at by who asks. */
export interface InvocationFilter {
  since?: number | undefined;
  until?: number | undefined;
  level?: number | undefined;
  invocation?: string | undefined;
  outcome?: string | undefined;
  trigger?: string | undefined;
}

// For so long it is known which report of a process was the last, so that it is not stored twice if it is sent
// again. Each process counts its own, and sends one at a time.
const REPORTS_KEPT_MS = 24 * 60 * 60_000;
// Few are as severe, and those are what is looked for.
const SEVERE = "level >= 3";
const SEVERE_LEVEL = 3;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS invocations (
    id TEXT PRIMARY KEY,
    started_at INTEGER NOT NULL,
    trigger TEXT,
    outcome TEXT,
    level INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    truncated INTEGER NOT NULL,
    rest TEXT NOT NULL,
    changed INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS invocations_by_time ON invocations (started_at);
  CREATE INDEX IF NOT EXISTS invocations_by_change ON invocations (changed);
  CREATE INDEX IF NOT EXISTS severe_invocations ON invocations (started_at) WHERE ${SEVERE};
  CREATE TABLE IF NOT EXISTS lines (
    invocation TEXT NOT NULL,
    number INTEGER NOT NULL,
    level INTEGER NOT NULL,
    at INTEGER NOT NULL,
    form INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (invocation, number)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS reports (
    process TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS totals (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    bytes INTEGER NOT NULL,
    changes INTEGER NOT NULL
  );
  INSERT OR IGNORE INTO totals VALUES (1, 0, 0)`;

// Numbered by report and place in it: those of one invocation in the order in which they came.
const ADD_LINES = `
  INSERT INTO lines (invocation, number, level, at, form, text)
  SELECT value ->> 0, (?2 << 24) + key, value ->> 1, value ->> 2, value ->> 3, value ->> 4
  FROM json_each(?1)`;

const kept = (column: (typeof KEPT_COLUMNS)[number]): string =>
  `value ->> ${KEPT_COLUMNS.indexOf(column)}`;

const ADD_INVOCATIONS = `
  INSERT INTO invocations (${KEPT_COLUMNS.join(", ")}, changed)
  SELECT ${KEPT_COLUMNS.map(kept).join(", ")}, ?2 FROM json_each(?1) WHERE TRUE
  ON CONFLICT DO UPDATE SET
    started_at = iif(excluded.outcome IS NULL, started_at, excluded.started_at),
    trigger = coalesce(excluded.trigger, trigger),
    outcome = coalesce(excluded.outcome, outcome),
    level = max(level, excluded.level),
    lines = lines + excluded.lines,
    bytes = bytes + excluded.bytes,
    truncated = max(truncated, excluded.truncated),
    rest = iif(excluded.outcome IS NULL, rest, excluded.rest),
    changed = excluded.changed`;

// Those whose lines are there.
const NOT_SILENT = `
  SELECT json_group_array(json(value)) AS invocations, coalesce(sum(${kept("bytes")}), 0) AS bytes
  FROM json_each(?) WHERE EXISTS (SELECT 1 FROM lines WHERE invocation = ${kept("id")})`;

/** The tables of one script's kept logs. Calls are synchronous: without an `await` between them they are one transaction. */
export class LogsStore {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(SCHEMA);
  }

  /** Adds what a report brings; nothing if the report of this id is in. */
  add(reportId: string, { invocations, silent, lines, bytes }: KeptLogs): void {
    const now = Date.now();
    const [process = "", number = ""] = reportId.split("-");
    const last = this.#sql.exec(
      `INSERT INTO reports (process, number, at) VALUES (?, ?, ?)
      ON CONFLICT DO UPDATE SET number = excluded.number, at = excluded.at
      WHERE excluded.number > number RETURNING number`,
      process,
      Number(number),
      now,
    );
    if (last.toArray().length === 0) return;
    this.#sql.exec("DELETE FROM reports WHERE at < ?", now - REPORTS_KEPT_MS);
    const change = this.totals().changes + 1;
    if (lines !== undefined) this.#sql.exec(ADD_LINES, lines, change);
    this.#sql.exec(ADD_INVOCATIONS, invocations, change);
    let added = bytes;
    if (silent !== undefined) {
      const found = this.#sql
        .exec<{ invocations: string; bytes: number }>(NOT_SILENT, silent)
        .one();
      this.#sql.exec(ADD_INVOCATIONS, found.invocations, change);
      added += found.bytes;
    }
    this.#sql.exec("UPDATE totals SET changes = ?, bytes = bytes + ?", change, added);
  }

  /** About how many bytes there are, and how often something was added. */
  totals(): { bytes: number; changes: number } {
    return this.#sql
      .exec<{ bytes: number; changes: number }>("SELECT bytes, changes FROM totals")
      .one();
  }

  /** When the oldest invocation began; undefined if there is none. */
  oldest(): number | undefined {
    const { at } = this.#sql
      .exec<{ at: number | null }>("SELECT min(started_at) AS at FROM invocations")
      .one();
    return at ?? undefined;
  }

  /** Whether nothing is left, not even of reports that may come again. */
  isEmpty(): boolean {
    const left = this.#sql.exec(
      "SELECT 1 FROM invocations UNION ALL SELECT 1 FROM reports WHERE at >= ? LIMIT 1",
      Date.now() - REPORTS_KEPT_MS,
    );
    return left.toArray().length === 0;
  }

  /**
   * Deletes the oldest invocations: those that began before the time, and as many as hold so many bytes. At
   * most `limit` of them; true if there are more to be deleted.
   */
  deleteOldest(before: number, bytes: number, limit: number): boolean {
    const oldest = this.#sql.exec<{ id: string; started_at: number; bytes: number }>(
      "SELECT id, started_at, bytes FROM invocations ORDER BY started_at, id LIMIT ?",
      limit,
    );
    const ids: string[] = [];
    let freed = 0;
    for (const row of oldest) {
      if (row.started_at >= before && freed >= bytes) break;
      ids.push(row.id);
      freed += row.bytes;
    }
    const list = JSON.stringify(ids);
    const chosen = "(SELECT value FROM json_each(?))";
    this.#sql.exec(`DELETE FROM lines WHERE invocation IN ${chosen}`, list);
    this.#sql.exec(`DELETE FROM invocations WHERE id IN ${chosen}`, list);
    this.#sql.exec("UPDATE totals SET bytes = bytes - ?", freed);
    return ids.length === limit;
  }

  /** Invocations behind the cursor in its order; without one, the newest first. */
  invocations(
    filter: InvocationFilter,
    cursor: LogsCursor | undefined,
    limit: number,
  ): InvocationRow[] {
    const { since, until, level, invocation, outcome, trigger } = filter;
    const column = cursor?.order === "newer" ? "changed" : "started_at";
    const [follows, direction] = cursor?.order === "newer" ? [">", "ASC"] : ["<", "DESC"];
    const conditions: [condition: string, ...values: (string | number)[]][] = [];
    if (cursor) conditions.push([`(${column}, id) ${follows} (?, ?)`, cursor.at, cursor.id]);
    if (since !== undefined) conditions.push(["started_at >= ?", since]);
    if (until !== undefined) conditions.push(["started_at < ?", until]);
    if (level !== undefined) conditions.push(["level >= ?", level]);
    // Said as the index says it, or it is not used.
    if (level !== undefined && level >= SEVERE_LEVEL) conditions.push([SEVERE]);
    if (invocation !== undefined) conditions.push(["id = ?", invocation]);
    if (outcome !== undefined) conditions.push(["outcome = ?", outcome]);
    if (trigger !== undefined) conditions.push(["trigger = ?", trigger]);
    const where = conditions.map(([condition]) => condition).join(" AND ") || "TRUE";
    return this.#sql
      .exec<InvocationRow & Record<string, SqlStorageValue>>(
        `SELECT * FROM invocations WHERE ${where}
        ORDER BY ${column} ${direction}, id ${direction} LIMIT ?`,
        ...conditions.flatMap(([, ...values]) => values),
        limit,
      )
      .toArray();
  }

  /**
   * Lines of the invocations, in the order in which they came: of the level or above, and with the text, in
   * lower case. Those that are read otherwise than they are stored may not have the text.
   */
  lines(ids: string[], level = 0, search = ""): Iterable<LineRow> {
    return this.#sql.exec<LineRow & Record<string, SqlStorageValue>>(
      `SELECT invocation, level, at, form, text FROM lines
      WHERE invocation IN (SELECT value FROM json_each(?1)) AND level >= ?2
        AND (?3 = '' OR form IN (?4, ?5) OR instr(lower(text), ?3))
      ORDER BY invocation, number`,
      JSON.stringify(ids),
      level,
      search,
      formOf("list"),
      formOf("exception"),
    );
  }
}
