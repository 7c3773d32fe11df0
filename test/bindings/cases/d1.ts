import { deepEqual, equal, ok, rejects } from "../assert.ts";
import type { Case, Differences } from "../case.ts";

// Cases share one database, so each has tables of its own.

const SYNTAX_ERROR = 'near "SELEC": syntax error at offset 0: SQLITE_ERROR';

/** Fails unless `run` rejects with D1's prefix before the message and the message as its cause. */
async function rejectsWithCause(
  run: () => Promise<unknown>,
  prefix: string,
  message: string,
): Promise<void> {
  await rejects(
    async () => {
      try {
        await run();
      } catch (error) {
        ok(error instanceof Error && error.cause instanceof Error, "has no cause");
        equal(error.cause.message, message);
        throw error;
      }
    },
    "Error",
    `${prefix}: ${message}`,
  );
}

/** The value of the only column of the only row. */
const value = async (db: D1Database, sql: string, ...params: unknown[]): Promise<unknown> =>
  (
    await db
      .prepare(sql)
      .bind(...params)
      .raw()
  )[0]?.[0];

/** What a bound value is to SQLite, and what it is when it comes back. */
async function roundTrip(db: D1Database, bound: unknown): Promise<unknown> {
  const [row] = await db.prepare("SELECT typeof(?1), ?1").bind(bound).raw();
  return row;
}

const queries: Record<string, Case> = {
  async "first gives the first row, a column of it, or null"({ DB }) {
    const statement = DB.prepare("SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, 'y'");
    deepEqual(await statement.first(), { a: 1, b: "x" });
    equal(await statement.first("b"), "x");
    equal(await DB.prepare("SELECT 1 WHERE 0").first(), null);
    equal(await DB.prepare("SELECT 1 AS a WHERE 0").first("nope"), null);
    equal(await DB.prepare("SELECT NULL AS a").first("a"), null);
  },

  async "first refuses a column that is not there"({ DB }) {
    await rejects(
      () => DB.prepare("SELECT 1 AS a").first("b"),
      "Error",
      "D1_COLUMN_NOTFOUND: Column not found (b)",
    );
  },

  async "all and run give rows, success and meta"({ DB }) {
    await DB.exec("CREATE TABLE all_run (id INTEGER PRIMARY KEY, name TEXT)");
    const inserted = await DB.prepare("INSERT INTO all_run (name) VALUES ('a'), ('b')").run();
    equal(inserted.success, true);
    deepEqual(inserted.results, []);
    const { meta } = inserted;
    equal(meta.changes, 2);
    equal(meta.last_row_id, 2);
    equal(meta.changed_db, true);
    equal(meta.rows_written, 2);
    ok(meta.size_after > 0);
    ok(meta.duration >= 0);
    equal(typeof meta["served_by"], "string");

    for (const method of ["all", "run"] as const) {
      const read = await DB.prepare("SELECT * FROM all_run ORDER BY id")[method]();
      deepEqual(read.results, [
        { id: 1, name: "a" },
        { id: 2, name: "b" },
      ]);
      equal(read.success, true);
      equal(read.meta.changes, 0);
      equal(read.meta.changed_db, false);
      equal(read.meta.rows_read, 2);
      equal(read.meta.rows_written, 0);
    }
  },

  async "meta tells of updates, deletes and changes of the schema"({ DB }) {
    const created = await DB.prepare("CREATE TABLE metas (a UNIQUE)").run();
    equal(created.meta.changed_db, true);
    equal(created.meta.changes, 0);
    await DB.prepare("INSERT INTO metas VALUES (1), (2), (3)").run();
    equal((await DB.prepare("UPDATE metas SET a = a + 10").run()).meta.changes, 3);
    equal((await DB.prepare("DELETE FROM metas WHERE a > 11").run()).meta.changes, 2);
    equal((await DB.prepare("DELETE FROM metas WHERE a > 99").run()).meta.changed_db, false);
  },

  async "raw gives rows as arrays, with column names if asked"({ DB }) {
    const statement = DB.prepare("SELECT 1 AS a, NULL AS b UNION ALL SELECT 2, 'x'");
    deepEqual(await statement.raw(), [
      [1, null],
      [2, "x"],
    ]);
    deepEqual(await statement.raw({ columnNames: true }), [
      ["a", "b"],
      [1, null],
      [2, "x"],
    ]);
    deepEqual(await DB.prepare("SELECT 1 AS a WHERE 0").raw({ columnNames: true }), [["a"]]);
    deepEqual(await DB.prepare("SELECT 1 AS a WHERE 0").raw(), []);
  },

  async "raw keeps columns of one name apart, where objects keep the last"({ DB }) {
    const statement = DB.prepare("SELECT 1 AS a, 2 AS a");
    deepEqual(await statement.raw({ columnNames: true }), [
      ["a", "a"],
      [1, 2],
    ]);
    deepEqual(await statement.first(), { a: 2 });
  },

  async "a prepared statement can be bound and run many times"({ DB }) {
    const statement = DB.prepare("SELECT ? AS a");
    const one = statement.bind(1);
    const two = statement.bind(2);
    deepEqual(await Promise.all([one.first("a"), two.first("a"), one.first("a")]), [1, 2, 1]);
  },

  async "parameters can be numbered and named"({ DB }) {
    deepEqual(await DB.prepare("SELECT ?2 AS a, ?1 AS b").bind(1, 2).first(), { a: 2, b: 1 });
    deepEqual(await DB.prepare("SELECT :x AS a, @y AS b, $z AS c").bind(1, 2, 3).first(), {
      a: 1,
      b: 2,
      c: 3,
    });
  },

  async "RETURNING gives the rows and counts the changes"({ DB }) {
    await DB.exec("CREATE TABLE returning_rows (id INTEGER PRIMARY KEY, n)");
    const { results, meta } = await DB.prepare(
      "INSERT INTO returning_rows (n) VALUES (?), (?) RETURNING id, n * 2 AS twice",
    )
      .bind(4, 5)
      .all();
    deepEqual(results, [
      { id: 1, twice: 8 },
      { id: 2, twice: 10 },
    ]);
    equal(meta.changes, 2);
  },

  async "of several statements in one text the last gives the rows"({ DB }) {
    deepEqual((await DB.prepare("SELECT 1 AS a; SELECT 2 AS b").all()).results, [{ b: 2 }]);
    await rejectsWithCause(
      () => DB.prepare("SELECT ?; SELECT 1").bind(1).all(),
      "D1_ERROR",
      "When executing multiple SQL statements in a single call, only the last statement can have parameters.",
    );
  },

  async "several statements in one text are one transaction"({ DB }) {
    await DB.exec("CREATE TABLE several (a UNIQUE)");
    await rejects(
      () => DB.prepare("INSERT INTO several VALUES (1); INSERT INTO several VALUES (1)").run(),
      "Error",
      /UNIQUE constraint failed: several\.a/,
    );
    equal(await value(DB, "SELECT count(*) FROM several"), 0);
  },

  async "ten thousand rows come back whole"({ DB }) {
    const { results } = await DB.prepare(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) SELECT i, 'row ' || i AS text FROM n",
    ).all<{ i: number; text: string }>();
    equal(results.length, 10_000);
    deepEqual(results[9_999], { i: 10_000, text: "row 10000" });
  },

  async "results of 40 MB come back whole"({ DB }) {
    const rows = await DB.prepare(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40) SELECT hex(zeroblob(500000)) FROM n",
    ).raw();
    equal(rows.length, 40);
  },
};

const types: Record<string, Case> = {
  async "numbers come back as they went"({ DB }) {
    for (const number of [0, 1, -1, 0.1, 1e308, 5e-324, 2 ** 31, 2 ** 53, -(2 ** 53)]) {
      deepEqual(await roundTrip(DB, number), ["real", number]);
    }
    await DB.exec("CREATE TABLE numbers (i INTEGER, r REAL, t TEXT)");
    await DB.prepare("INSERT INTO numbers VALUES (?1, ?1, ?1)").bind(3).run();
    deepEqual(await DB.prepare("SELECT typeof(i) AS i, typeof(r) AS r, t FROM numbers").first(), {
      i: "integer",
      r: "real",
      t: "3.0",
    });
  },

  async "NaN, infinities and -0 become what JSON makes of them"({ DB }) {
    for (const number of [NaN, Infinity, -Infinity]) {
      deepEqual(await roundTrip(DB, number), ["null", null]);
    }
    deepEqual(await roundTrip(DB, -0), ["real", 0]);
    deepEqual(await DB.prepare("SELECT 9e999 AS a, -9e999 AS b").first(), { a: null, b: null });
  },

  async "integers past 2^53 lose their last digits"({ DB }) {
    equal(await value(DB, "SELECT 9007199254740993"), 9_007_199_254_740_992);
    equal(await value(DB, "SELECT 9223372036854775807"), 2 ** 63);
    equal(await value(DB, "SELECT CAST(9007199254740993 AS TEXT)"), "9007199254740993");
  },

  async "text keeps quotes, line ends, NUL and every plane of Unicode"({ DB }) {
    for (const text of ["", "it's", 'a "b"', "a\r\nb", "a\0b", "ü", "🎉", "x".repeat(500_000)]) {
      deepEqual(await roundTrip(DB, text), ["text", text]);
    }
  },

  async "booleans become integers, null stays"({ DB }) {
    deepEqual(await roundTrip(DB, true), ["real", 1]);
    deepEqual(await roundTrip(DB, false), ["real", 0]);
    deepEqual(await roundTrip(DB, null), ["null", null]);
  },

  async "blobs go in as buffers, views or arrays and come out as arrays"({ DB }) {
    const bytes = Uint8Array.from([0, 1, 127, 128, 255]);
    const plain = Array.from(bytes);
    for (const blob of [bytes, bytes.buffer, plain, bytes.subarray(0)]) {
      deepEqual(await roundTrip(DB, blob), ["blob", plain]);
    }
    deepEqual(await roundTrip(DB, bytes.subarray(1, 3)), ["blob", [1, 127]]);
    deepEqual(await roundTrip(DB, []), ["blob", []]);
    deepEqual(await roundTrip(DB, new Uint16Array([1, 300])), ["blob", [1, 44]]);
    deepEqual(await DB.prepare("SELECT X'00ff' AS b").first(), { b: [0, 255] });
  },

  async "a blob of 1 MB comes back whole"({ DB }) {
    const blob = new Uint8Array(1_000_000).map((_, i) => i % 256);
    await DB.exec("CREATE TABLE blobs (b BLOB)");
    await DB.prepare("INSERT INTO blobs VALUES (?)").bind(blob).run();
    const read = (await value(DB, "SELECT b FROM blobs")) as number[];
    equal(read.length, blob.length);
    ok(read.every((byte, i) => byte === i % 256));
  },

  async "other types are refused when they are bound"({ DB }) {
    const statement = DB.prepare("SELECT ?");
    const refused: [unknown, string][] = [
      [undefined, "Type 'undefined' not supported for value 'undefined'"],
      [1n, "Type 'bigint' not supported for value '1'"],
      [{ a: 1 }, "Type 'object' not supported for value '[object Object]'"],
      [[1, 256], "Type 'object' not supported for value '1,256'"],
      [["a"], "Type 'object' not supported for value 'a'"],
      [() => 1, "Type 'function' not supported for value '() => 1'"],
    ];
    for (const [bad, message] of refused) {
      await rejectsWithCause(async () => statement.bind(bad), "D1_TYPE_ERROR", message);
    }
    await rejects(() => statement.bind(new Date(0)), "Error", /^D1_TYPE_ERROR: Type 'object'/);
  },
};

const badInput: Record<string, Case> = {
  async "malformed SQL and unknown names are D1_ERRORs with a cause"({ DB }) {
    await rejectsWithCause(() => DB.prepare("SELEC 1").all(), "D1_ERROR", SYNTAX_ERROR);
    await rejectsWithCause(() => DB.prepare("SELEC 1").first(), "D1_ERROR", SYNTAX_ERROR);
    await rejectsWithCause(() => DB.prepare("SELEC 1").run(), "D1_ERROR", SYNTAX_ERROR);
    await rejectsWithCause(() => DB.prepare("SELEC 1").raw(), "D1_ERROR", SYNTAX_ERROR);
    await rejectsWithCause(() => DB.batch([DB.prepare("SELEC 1")]), "D1_ERROR", SYNTAX_ERROR);
    await rejectsWithCause(
      () => DB.prepare("SELECT * FROM nope").all(),
      "D1_ERROR",
      "no such table: nope: SQLITE_ERROR",
    );
    await rejects(
      () => DB.prepare("SELECT nope FROM sqlite_schema").all(),
      "Error",
      /^D1_ERROR: no such column: nope/,
    );
    await rejectsWithCause(
      () => DB.prepare("SELECT json('{')").all(),
      "D1_ERROR",
      "malformed JSON: SQLITE_ERROR",
    );
  },

  async "text without a statement is refused"({ DB }) {
    for (const sql of ["", "   ", "-- a comment", "\n-- one\n-- two\n"]) {
      await rejectsWithCause(
        () => DB.prepare(sql).all(),
        "D1_ERROR",
        "No SQL statements detected.",
      );
    }
    await rejects(() => DB.prepare(";").all(), "Error", /^D1_ERROR: /);
    await rejects(() => DB.batch([]), "Error", "D1_ERROR: No SQL statements detected.");
  },

  async "SQL that is not a string is refused"({ DB }) {
    await rejects(() => DB.prepare(5 as never).all(), "Error", /^D1_ERROR: /);
    await rejects(() => DB.prepare(undefined as never).all(), "Error", /^D1_ERROR: /);
    await rejects(() => DB.batch("SELECT 1" as never), "TypeError", /is not a function/);
    await rejects(() => DB.batch([5 as never]), "Error", /^D1_ERROR: /);
    await rejects(() => DB.exec(5 as never), "TypeError", /is not a function/);
  },

  async "a statement has at most 100,000 bytes"({ DB }) {
    const longest = `SELECT '${"x".repeat(100_000 - 9)}'`;
    equal(((await value(DB, longest)) as string).length, 100_000 - 9);
    await rejectsWithCause(
      () => DB.prepare(`${longest} `).all(),
      "D1_ERROR",
      "statement too long: SQLITE_TOOBIG",
    );
  },

  async "a statement has at most 100 parameters"({ DB }) {
    const select = (count: number): D1PreparedStatement =>
      DB.prepare(`SELECT ${Array(count).fill("?").join()}`).bind(...Array(count).fill(1));
    equal((await select(100).raw())[0]?.length, 100);
    await rejects(() => select(101).raw(), "Error", /^D1_ERROR: too many SQL variables/);
    await rejects(
      () => DB.prepare("SELECT ?101").bind(1).raw(),
      "Error",
      /^D1_ERROR: variable number must be between \?1 and \?100/,
    );
  },

  async "as many values must be bound as the statement has parameters"({ DB }) {
    const message = "Wrong number of parameter bindings for SQL query.";
    await rejectsWithCause(() => DB.prepare("SELECT ?").all(), "D1_ERROR", message);
    await rejectsWithCause(() => DB.prepare("SELECT ?, ?").bind(1).all(), "D1_ERROR", message);
    await rejectsWithCause(() => DB.prepare("SELECT ?").bind(1, 2).all(), "D1_ERROR", message);
  },

  async "SQLite's other limits are D1's"({ DB }) {
    await rejectsWithCause(
      () => DB.prepare("SELECT 'a' LIKE ?").bind("x".repeat(51)).all(),
      "D1_ERROR",
      "LIKE or GLOB pattern too complex: SQLITE_ERROR",
    );
    await rejectsWithCause(
      () => DB.prepare(Array(6).fill("SELECT 1").join(" UNION ALL ")).all(),
      "D1_ERROR",
      "too many terms in compound SELECT: SQLITE_ERROR",
    );
    const columns = Array.from({ length: 101 }, (_, i) => `c${i}`).join();
    await rejects(
      () => DB.prepare(`CREATE TABLE wide (${columns})`).run(),
      "Error",
      /too many columns on wide/,
    );
  },

  async "constraints are told by name"({ DB }) {
    await DB.exec(
      "CREATE TABLE strict_rows (id INTEGER PRIMARY KEY, u UNIQUE, n NOT NULL DEFAULT 0, c CHECK (c > 0)) ",
    );
    await DB.prepare("INSERT INTO strict_rows (u) VALUES (1)").run();
    const refused = [
      ["u) VALUES (1", "UNIQUE constraint failed: strict_rows.u", "UNIQUE"],
      ["n) VALUES (NULL", "NOT NULL constraint failed: strict_rows.n", "NOTNULL"],
      ["c) VALUES (0", "CHECK constraint failed: c > 0", "CHECK"],
    ];
    for (const [values, message, kind] of refused) {
      await rejectsWithCause(
        () => DB.prepare(`INSERT INTO strict_rows (${values})`).run(),
        "D1_ERROR",
        `${message}: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_${kind})`,
      );
    }
    await rejectsWithCause(
      () => DB.prepare("INSERT INTO strict_rows (id) VALUES ('x')").run(),
      "D1_ERROR",
      "datatype mismatch: SQLITE_MISMATCH",
    );
  },
};

const batches: Record<string, Case> = {
  async "a batch gives one result for each statement"({ DB }) {
    const [created, inserted, read] = await DB.batch<{ n: number }>([
      DB.prepare("CREATE TABLE batched (n)"),
      DB.prepare("INSERT INTO batched VALUES (?), (?)").bind(1, 2),
      DB.prepare("SELECT n FROM batched ORDER BY n"),
    ]);
    deepEqual(created?.results, []);
    equal(inserted?.meta.changes, 2);
    deepEqual(read?.results, [{ n: 1 }, { n: 2 }]);
  },

  async "a batch that fails changes nothing"({ DB }) {
    await DB.exec("CREATE TABLE atomic (a UNIQUE)");
    await DB.prepare("INSERT INTO atomic VALUES (1)").run();
    await rejects(
      () =>
        DB.batch([
          DB.prepare("INSERT INTO atomic VALUES (2)"),
          DB.prepare("CREATE TABLE atomic_too (a)"),
          DB.prepare("INSERT INTO atomic VALUES (1)"),
          DB.prepare("INSERT INTO atomic VALUES (3)"),
        ]),
      "Error",
      /^D1_ERROR: UNIQUE constraint failed: atomic\.a/,
    );
    deepEqual(await DB.prepare("SELECT a FROM atomic").raw(), [[1]]);
    await rejects(() => DB.prepare("SELECT * FROM atomic_too").all(), "Error", /no such table/);
  },

  async "a later statement of a batch sees what earlier ones did"({ DB }) {
    const results = await DB.batch([
      DB.prepare("CREATE TABLE seen (id INTEGER PRIMARY KEY, p)"),
      DB.prepare("INSERT INTO seen (p) VALUES ('first')"),
      DB.prepare("INSERT INTO seen (p) VALUES (last_insert_rowid())"),
      DB.prepare("SELECT p FROM seen ORDER BY id"),
    ]);
    deepEqual(results[3]?.results, [{ p: "first" }, { p: 1 }]);
  },

  async "comments alone are left out of a batch"({ DB }) {
    const results = await DB.batch([DB.prepare("-- nothing"), DB.prepare("SELECT 1 AS a")]);
    equal(results.length, 1);
    deepEqual(results[0]?.results, [{ a: 1 }]);
  },

  async "counters bumped at the same time miss nothing"({ DB }) {
    await DB.exec("CREATE TABLE counters (name TEXT PRIMARY KEY, n INTEGER)");
    const bump = DB.prepare(
      "INSERT INTO counters VALUES ('hits', 1) ON CONFLICT DO UPDATE SET n = n + 1 RETURNING n",
    );
    const seen = await Promise.all(Array.from({ length: 50 }, () => bump.first<number>("n")));
    deepEqual(
      seen.sort((a, b) => Number(a) - Number(b)),
      Array.from({ length: 50 }, (_, i) => i + 1),
    );
  },

  async "exec runs a statement for each line and counts them"({ DB }) {
    const { count, duration } = await DB.exec(
      "CREATE TABLE lines (a);\n\n-- a comment\nINSERT INTO lines VALUES (1);\nINSERT INTO lines VALUES (2)\n",
    );
    equal(count, 3);
    ok(duration >= 0);
    equal(await value(DB, "SELECT sum(a) FROM lines"), 3);
    equal((await DB.exec("SELECT 1; SELECT 2")).count, 1);
  },

  async "exec that fails changes nothing and blames the first line"({ DB }) {
    await rejectsWithCause(
      () => DB.exec("CREATE TABLE undone (a);\nSELEC"),
      "D1_EXEC_ERROR",
      `Error in line 1: CREATE TABLE undone (a);: ${SYNTAX_ERROR}`,
    );
    await rejects(() => DB.prepare("SELECT * FROM undone").all(), "Error", /no such table/);
    await rejects(
      () => DB.exec("SELECT\n1"),
      "Error",
      "D1_EXEC_ERROR: Error in line 1: SELECT: incomplete input: SQLITE_ERROR",
    );
    await rejects(() => DB.exec(""), "Error", /^D1_EXEC_ERROR: .*No SQL statements detected\.$/);
  },

  async "dump is no longer there"({ DB }) {
    await rejects(() => DB.dump(), "Error", /^D1_DUMP_ERROR: /);
  },
};

const NO_TRANSACTIONS = /^D1_ERROR: To execute a transaction, please use the state\.storage/;

const protection: Record<string, Case> = {
  async "BEGIN, COMMIT and SAVEPOINT are refused"({ DB }) {
    for (const sql of ["BEGIN", "BEGIN TRANSACTION", "COMMIT", "ROLLBACK", "SAVEPOINT x"]) {
      await rejects(() => DB.prepare(sql).run(), "Error", NO_TRANSACTIONS);
    }
  },

  async "what reaches beyond the database is refused"({ DB }) {
    for (const sql of [
      "ATTACH 'other.sqlite' AS other",
      "CREATE TEMP TABLE t (a)",
      "PRAGMA journal_mode",
      "PRAGMA writable_schema = ON",
      "PRAGMA user_version",
      "SELECT load_extension('x')",
      "CREATE TABLE _cf_mine (a)",
      "CREATE TABLE _CF_mine (a)",
    ]) {
      await rejects(() => DB.prepare(sql).run(), "Error", /^D1_ERROR: not authorized: SQLITE_/);
    }
    await rejects(() => DB.prepare("VACUUM").run(), "Error", /^D1_ERROR: cannot VACUUM/);
    await rejects(() => DB.prepare("SELECT * FROM _cf_KV").all(), "Error", /^D1_ERROR: /);
    await rejects(
      () => DB.prepare("UPDATE sqlite_schema SET sql = ''").run(),
      "Error",
      /may not be modified|not authorized/,
    );
  },

  async "a user's tables are all that the schema shows"({ DB }) {
    await DB.exec("CREATE TABLE shown (a)");
    const names = (await DB.prepare("SELECT name FROM sqlite_schema").raw<[string]>()).flat();
    ok(names.includes("shown"));
    equal(names.filter((name) => name.startsWith("_cf_")).length, 0);
  },

  async "PRAGMAs that read the schema work"({ DB }) {
    await DB.exec("CREATE TABLE pragmas (id INTEGER PRIMARY KEY, name TEXT NOT NULL)");
    const { results } = await DB.prepare("PRAGMA table_info('pragmas')").all<{ name: string }>();
    deepEqual(
      results.map(({ name }) => name),
      ["id", "name"],
    );
    const { results: tables } = await DB.prepare("PRAGMA table_list").all<{ name: string }>();
    ok(tables.some(({ name }) => name === "pragmas"));
    deepEqual((await DB.prepare("PRAGMA quick_check").all()).results, [{ quick_check: "ok" }]);
  },

  async "foreign keys are enforced and cannot be turned off"({ DB }) {
    await DB.exec(
      "CREATE TABLE parents (id INTEGER PRIMARY KEY)\nCREATE TABLE children (p REFERENCES parents (id))",
    );
    const violation =
      "FOREIGN KEY constraint failed: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_FOREIGNKEY)";
    const orphan = DB.prepare("INSERT INTO children VALUES (1)");
    await rejectsWithCause(() => orphan.run(), "D1_ERROR", violation);
    await DB.prepare("PRAGMA foreign_keys = OFF").run();
    deepEqual((await DB.prepare("PRAGMA foreign_keys").all()).results, [{ foreign_keys: 1 }]);
    await rejectsWithCause(() => orphan.run(), "D1_ERROR", violation);
    await rejectsWithCause(
      () => DB.batch([DB.prepare("PRAGMA foreign_keys = OFF"), orphan]),
      "D1_ERROR",
      violation,
    );
  },

  async "foreign keys can be deferred to the end of a batch"({ DB }) {
    await DB.exec(
      "CREATE TABLE owners (id INTEGER PRIMARY KEY)\nCREATE TABLE pets (owner REFERENCES owners (id))",
    );
    await DB.batch([
      DB.prepare("PRAGMA defer_foreign_keys = on"),
      DB.prepare("INSERT INTO pets VALUES (7)"),
      DB.prepare("INSERT INTO owners VALUES (7)"),
    ]);
    equal(await value(DB, "SELECT owner FROM pets"), 7);
    await rejects(
      () => DB.prepare("INSERT INTO pets VALUES (8)").run(),
      "Error",
      /FOREIGN KEY constraint failed/,
    );
  },

  async "a table can be rebuilt under those that refer to it"({ DB }) {
    await DB.exec(
      "CREATE TABLE rebuilt (id INTEGER PRIMARY KEY)\nCREATE TABLE referring (r REFERENCES rebuilt (id))\nINSERT INTO rebuilt VALUES (1)\nINSERT INTO referring VALUES (1)",
    );
    await DB.batch([
      DB.prepare("PRAGMA defer_foreign_keys = on"),
      DB.prepare("CREATE TABLE rebuilt_new (id INTEGER PRIMARY KEY, more TEXT)"),
      DB.prepare("INSERT INTO rebuilt_new (id) SELECT id FROM rebuilt"),
      DB.prepare("DROP TABLE rebuilt"),
      DB.prepare("ALTER TABLE rebuilt_new RENAME TO rebuilt"),
    ]);
    equal(await value(DB, "SELECT count(*) FROM rebuilt JOIN referring ON r = id"), 1);
  },

  async "a deferred violation fails its batch and nobody else's"({ DB }) {
    await DB.exec(
      "CREATE TABLE houses (id INTEGER PRIMARY KEY)\nCREATE TABLE rooms (house REFERENCES houses (id))",
    );
    const [failed, ...others] = await Promise.allSettled([
      DB.batch([
        DB.prepare("PRAGMA defer_foreign_keys = on"),
        DB.prepare("INSERT INTO rooms VALUES (9)"),
      ]),
      DB.prepare("SELECT 1").all(),
      DB.prepare("INSERT INTO houses VALUES (1)").run(),
    ]);
    await rejects(
      async () => {
        if (failed.status === "rejected") throw failed.reason;
      },
      "Error",
      /^D1_ERROR: FOREIGN KEY constraint failed: SQLITE_CONSTRAINT/,
    );
    ok(others.every(({ status }) => status === "fulfilled"));
    equal(await value(DB, "SELECT count(*) FROM rooms"), 0);
  },
};

const sqlite: Record<string, Case> = {
  async "JSON can be read, taken apart and changed"({ DB }) {
    const json = '{"tags":["a","b"],"n":{"deep":1}}';
    equal(await value(DB, "SELECT json_extract(?, '$.n.deep')", json), 1);
    equal(await value(DB, "SELECT ? ->> '$.tags[1]'", json), "b");
    equal(await value(DB, "SELECT json_set('{}', '$.a', json('[1]'))"), '{"a":[1]}');
    deepEqual(await DB.prepare("SELECT value FROM json_each(?, '$.tags')").bind(json).raw(), [
      ["a"],
      ["b"],
    ]);
  },

  async "full text can be searched with fts5"({ DB }) {
    await DB.exec(
      "CREATE VIRTUAL TABLE posts USING fts5(title, body, tokenize = 'porter')\nINSERT INTO posts VALUES ('One', 'dogs were running'), ('Two', 'a cat')",
    );
    deepEqual(
      await DB.prepare(
        "SELECT title, highlight(posts, 1, '[', ']') AS hit FROM posts WHERE posts MATCH ? ORDER BY rank",
      )
        .bind("run")
        .first(),
      { title: "One", hit: "dogs were [running]" },
    );
  },

  async "views, triggers, generated columns, windows and upserts work"({ DB }) {
    await DB.batch([
      DB.prepare("CREATE TABLE sales (day TEXT, n INTEGER, twice INTEGER AS (n * 2))"),
      DB.prepare("CREATE TABLE sales_log (what TEXT)"),
      DB.prepare(
        "CREATE TRIGGER sales_logged AFTER INSERT ON sales BEGIN INSERT INTO sales_log VALUES (CASE WHEN new.n > 1 THEN 'many' ELSE 'few' END); END",
      ),
      DB.prepare(
        "CREATE VIEW totals AS SELECT day, sum(n) OVER (ORDER BY day) AS total FROM sales",
      ),
      DB.prepare("INSERT INTO sales VALUES ('mon', 1), ('tue', 2)"),
    ]);
    deepEqual(await DB.prepare("SELECT * FROM totals").raw(), [
      ["mon", 1],
      ["tue", 3],
    ]);
    deepEqual(await DB.prepare("SELECT what FROM sales_log").raw(), [["few"], ["many"]]);
    equal(await value(DB, "SELECT twice FROM sales WHERE n = 2"), 4);
  },

  async "changes and last_insert_rowid tell of the statement before"({ DB }) {
    await DB.exec("CREATE TABLE told (a)");
    const results = await DB.batch([
      DB.prepare("INSERT INTO told VALUES (1), (2)"),
      DB.prepare("SELECT changes() AS changes, last_insert_rowid() AS id"),
    ]);
    deepEqual(results[1]?.results, [{ changes: 2, id: 2 }]);
  },

  async "dates can be had"({ DB }) {
    ok(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/.test(String(await value(DB, "SELECT datetime('now')"))));
    equal(await value(DB, "SELECT date(0, 'unixepoch')"), "1970-01-01");
  },
};

const sessions: Record<string, Case> = {
  async "a session reads and writes, and its bookmark grows"({ DB }) {
    await DB.exec("CREATE TABLE in_session (a)");
    const session = DB.withSession();
    equal(session.getBookmark(), null);
    await session.prepare("INSERT INTO in_session VALUES (1)").run();
    const first = session.getBookmark();
    ok(first);
    await session.batch([session.prepare("INSERT INTO in_session VALUES (2)")]);
    const second = session.getBookmark();
    ok(second && second.localeCompare(first) > 0);
    equal(await session.prepare("SELECT sum(a) AS n FROM in_session").first("n"), 3);
  },

  async "a session can be constrained, or go on from a bookmark"({ DB }) {
    for (const constraint of ["first-primary", "first-unconstrained", " ", undefined]) {
      const session = DB.withSession(constraint);
      equal(session.getBookmark(), null);
      equal(await session.prepare("SELECT 1 AS a").first("a"), 1);
      ok(session.getBookmark());
    }
    const bookmark = DB.withSession();
    await bookmark.prepare("SELECT 1").all();
    const later = DB.withSession(bookmark.getBookmark() ?? "");
    equal(later.getBookmark(), bookmark.getBookmark());
    await later.prepare("SELECT 1").all();
    ok(String(later.getBookmark()).localeCompare(String(bookmark.getBookmark())) >= 0);
  },

  async "a session has no exec and no dump"({ DB }) {
    const session = DB.withSession() as unknown as Record<string, unknown>;
    equal(typeof session["exec"], "undefined");
    equal(typeof session["dump"], "undefined");
  },
};

export const cases: Record<string, Case> = {
  ...queries,
  ...types,
  ...badInput,
  ...batches,
  ...protection,
  ...sqlite,
  ...sessions,
};

const DEFERRED =
  "Miniflare checks deferred foreign keys at the commit only, which resets the database's object";

export const differences: Differences = {
  "results of 40 MB come back whole": {
    on: "mayfly",
    why: "results of one call are limited to 32 MiB, what one message between isolates holds",
  },
  "a table can be rebuilt under those that refer to it": { on: "miniflare", why: DEFERRED },
  "a deferred violation fails its batch and nobody else's": { on: "miniflare", why: DEFERRED },
};
