import { expect, test } from "vitest";
import { splitStatements, StatementSplitter, toRunnable } from "../src/bindings/d1/statements.ts";

const TEXT = `-- first; comment
CREATE TABLE "a;b" (x TEXT DEFAULT 'it''s; so', [y;] INT, \`z;\` REAL); /* not; one */ ;;
create temp trigger t after insert on "a;b" begin
  select case when 1 then ';' end; -- end;
  update "a;b" set x = 'END;';
end;
EXPLAIN QUERY PLAN CREATE TRIGGER u DELETE ON c BEGIN SELECT 1; END ;
SELECT 1 - -1 / 2 AS created; SELECT 'é🎉' -- no semicolon at the end
`;

const STATEMENTS = [
  /^CREATE TABLE "a;b" .* REAL\);$/s,
  /^create temp trigger t .*\nend;$/s,
  /^EXPLAIN QUERY PLAN CREATE TRIGGER u .* END ;$/s,
  /^SELECT 1 - -1 \/ 2 AS created;$/,
  /^SELECT 'é🎉' -- no semicolon at the end\n$/,
];

test("statements end where SQLite ends them", () => {
  const statements = splitStatements(TEXT);
  expect(statements).toHaveLength(STATEMENTS.length);
  for (const [i, pattern] of STATEMENTS.entries()) expect(statements[i]).toMatch(pattern);
  for (const blank of ["", " \n", ";", "-- c", "/* c */;", "/* never closed"]) {
    expect(splitStatements(blank)).toEqual([]);
  }
  expect(splitStatements("SELECT 'never closed; SELECT 2")).toHaveLength(1);
});

test("statements are the same however their text is cut", () => {
  const whole = splitStatements(TEXT);
  for (const size of [1, 2, 3, 5, 7, 64]) {
    const splitter = new StatementSplitter();
    const statements: string[] = [];
    for (let at = 0; at < TEXT.length; at += size) {
      statements.push(...splitter.push(TEXT.slice(at, at + size)));
    }
    expect([...statements, ...splitter.end()]).toEqual(whole);
  }
});

test("a statement that is longer than any could be is not kept in memory", () => {
  const splitter = new StatementSplitter();
  const piece = "x".repeat(4 * 1024 * 1024);
  splitter.push(`SELECT '`);
  expect(() => {
    for (let i = 0; i < 10; i++) splitter.push(piece);
  }).toThrow("statement too long: SQLITE_TOOBIG");
});

test("only a statement too long for SQLite gets its long literals bound", () => {
  const short = `INSERT INTO t VALUES ('${"a".repeat(50_000)}');`;
  expect(toRunnable(short)).toEqual({ sql: short, params: [] });

  const text = "it''s ".repeat(20_000);
  const { sql, params } = toRunnable(
    `INSERT INTO t VALUES ('${text}', x'${"00ff".repeat(200)}', 'short', 1);`,
  );
  expect(sql).toBe("INSERT INTO t VALUES (?, ?, 'short', 1);");
  expect(params[0]).toBe(text.replaceAll("''", "'"));
  expect(new Uint8Array(params[1] as ArrayBuffer).slice(0, 3)).toEqual(
    Uint8Array.from([0, 255, 0]),
  );
});
