import { IS_OURS, OUTBOX } from "../../triggers/database/protocol.ts";
import type { DumpOptions } from "./protocol.ts";

/** What a dump cannot do, told to whoever asked for it. */
export class DumpError extends Error {
  override readonly name = "DumpError";
}

interface SchemaEntry {
  name: string;
  sql: string;
}

/** A table to dump. */
interface DumpedTable extends SchemaEntry {
  /** Module of a virtual table in lower case; undefined for an ordinary one. */
  module: string | undefined;
}

/** What goes into a dump, found out before its first byte. */
export interface DumpPlan {
  options: DumpOptions;
  tables: DumpedTable[];
}

/**
 * All but the platform's and SQLite's own, of tables and other parts of a schema. `sqlite_sequence` is
 * dumped with the tables that use it.
 */
export const VISIBLE = String.raw`name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE '\_cf\_%' ESCAPE '\' AND name <> '${OUTBOX}' AND NOT ${IS_OURS}`;

/** Throws DumpError if a table is unknown or cannot be written as SQL. */
export function planDump(sql: SqlStorage, options: DumpOptions): DumpPlan {
  // Shadow tables belong to virtual ones, which make and fill them.
  const shadows = new Set(
    sql
      .exec<{ name: string }>("SELECT name FROM pragma_table_list WHERE type = 'shadow'")
      .toArray()
      .map(({ name }) => name),
  );
  const all = sql
    .exec<{ name: string; sql: string }>(
      `SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql NOT NULL AND ${VISIBLE} ORDER BY rowid`,
    )
    .toArray()
    .filter(({ name }) => !shadows.has(name));
  const wanted = options.tables?.length ? new Set(options.tables) : undefined;
  for (const name of wanted ?? []) {
    if (!all.some((table) => table.name === name)) throw new DumpError(`no such table: ${name}`);
  }
  const tables = all
    .filter(({ name }) => wanted?.has(name) ?? true)
    .map((table) => ({ ...table, module: virtualModule(table.sql) }));
  for (const table of tables) {
    if (!options.noData && table.module === "fts5" && ftsContent(table.sql) === "") {
      throw new DumpError(
        `table ${table.name}: a contentless fts5 table does not keep its text and cannot be dumped; leave out its data (no_data) or name the other tables`,
      );
    }
  }
  return { options, tables };
}

/**
 * The database as SQL that a fresh database and the sqlite3 shell take, statement by statement.
 * Views, triggers and indexes come after the rows, so that none of them sees the rows arrive.
 */
export function* dumpSql(sql: SqlStorage, plan: DumpPlan): Generator<string> {
  const { options, tables } = plan;
  const ordinary = tables.filter(({ module }) => module === undefined);
  const virtual = tables.filter(({ module }) => module !== undefined);
  yield "PRAGMA defer_foreign_keys=TRUE;\n";
  for (const table of ordinary) {
    if (!options.noSchema) yield ended(table.sql);
    if (!options.noData) yield* dumpRows(sql, table.name, columnsOf(sql, table.name));
  }
  if (!options.noData) yield* dumpSequence(sql, ordinary);
  if (!options.noSchema) yield* dumpRest(sql, "view", plan);
  for (const table of virtual) {
    if (!options.noSchema) yield ended(table.sql);
    if (!options.noData) yield* dumpVirtual(sql, table);
  }
  if (options.noSchema) return;
  yield* dumpRest(sql, "index", plan);
  yield* dumpRest(sql, "trigger", plan);
}

// Stored text may end in a comment, which would swallow a semicolon on its line.
const ended = (sql: string): string => `${sql}${sql.includes("--") ? "\n" : ""};\n`;

const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;

function columnsOf(sql: SqlStorage, table: string): string[] {
  return sql
    .exec<{ name: string }>("SELECT name FROM pragma_table_info(?)", table)
    .toArray()
    .map(({ name }) => name);
}

/** SQLite itself writes numbers as literals: a number of JavaScript would not hold 64 bits. */
function* dumpRows(sql: SqlStorage, table: string, columns: string[]): Generator<string> {
  const names = columns.map(quoteName);
  const cells = names.map(
    (name) =>
      `CASE typeof(${name}) WHEN 'text' THEN 'T' || ${name} WHEN 'blob' THEN ${name} ELSE quote(${name}) END`,
  );
  const into = `INSERT INTO ${quoteName(table)} (${names.join(",")}) VALUES(`;
  const rows = sql.exec(`SELECT ${cells.join(", ")} FROM ${quoteName(table)}`);
  for (const row of rows.raw<(string | ArrayBuffer)[]>()) {
    yield `${into}${row.map(toLiteral).join(",")});\n`;
  }
}

function toLiteral(cell: string | ArrayBuffer): string {
  if (typeof cell !== "string") return `X'${toHex(new Uint8Array(cell))}'`;
  // Not a text but a number or NULL, written by SQLite.
  if (!cell.startsWith("T")) return cell === "Inf" ? "9e999" : cell === "-Inf" ? "-9e999" : cell;
  const text = cell.slice(1);
  // A text literal cannot hold NUL, and the sqlite3 shell drops a CR at the end of a line.
  if (/[\0\r]/.test(text)) return `CAST(X'${toHex(new TextEncoder().encode(text))}' AS TEXT)`;
  return `'${text.replaceAll("'", "''")}'`;
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

function toHex(bytes: Uint8Array): string {
  let hex = "";
  for (const byte of bytes) hex += HEX[byte];
  return hex;
}

/** The next ids of AUTOINCREMENT tables. The rows before have set them, but perhaps too low. */
function* dumpSequence(sql: SqlStorage, tables: DumpedTable[]): Generator<string> {
  const exists = sql.exec("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'").toArray();
  if (exists.length === 0) return;
  for (const { name } of tables) {
    const rows = sql
      .exec<{ name: string; seq: string }>(
        "SELECT quote(name) AS name, quote(seq) AS seq FROM sqlite_sequence WHERE name = ?",
        name,
      )
      .toArray();
    for (const row of rows) {
      yield `DELETE FROM sqlite_sequence WHERE name=${row.name};\n`;
      yield `INSERT INTO sqlite_sequence (name,seq) VALUES(${row.name},${row.seq});\n`;
    }
  }
}

function* dumpVirtual(sql: SqlStorage, table: DumpedTable): Generator<string> {
  const name = quoteName(table.name);
  switch (table.module) {
    case "fts5":
      if (ftsContent(table.sql) === undefined) {
        yield* dumpRows(sql, table.name, ["rowid", ...columnsOf(sql, table.name)]);
      } else yield `INSERT INTO ${name} (${name}) VALUES('rebuild');\n`;
      return;
    case "fts5vocab":
      return; // A view into another table.
    default:
      yield* dumpRows(sql, table.name, columnsOf(sql, table.name));
  }
}

function* dumpRest(
  sql: SqlStorage,
  type: "index" | "view" | "trigger",
  { options, tables }: DumpPlan,
): Generator<string> {
  const dumped = options.tables?.length ? new Set(tables.map(({ name }) => name)) : undefined;
  const entries = sql
    .exec<{ table: string; sql: string }>(
      `SELECT tbl_name AS "table", sql FROM sqlite_schema WHERE type = ? AND sql NOT NULL AND ${VISIBLE} ORDER BY rowid`,
      type,
    )
    .toArray();
  for (const entry of entries) {
    if (dumped?.has(entry.table) ?? true) yield ended(entry.sql);
  }
}

/** The module of `CREATE VIRTUAL TABLE … USING module(…)`. */
function virtualModule(sql: string): string | undefined {
  if (!/^CREATE\s+VIRTUAL\s/i.test(sql)) return undefined;
  return /\bUSING\s+["'`[]?(\w+)/i.exec(sql)?.[1]?.toLowerCase() ?? "";
}

/** The table that an fts5 table takes its text from: "" if none keeps it, undefined if it does. */
function ftsContent(sql: string): string | undefined {
  const option = /[(,]\s*content\s*=\s*("[^"]*"|'[^']*'|\w*)/i.exec(sql)?.[1];
  return option?.replace(/^(["'])(.*)\1$/, "$2");
}
