import { createHash } from "node:crypto";
import { mkdtemp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startPlatform, type CommandResult, type Platform } from "./harness/platform.ts";

let platform: Platform;
let project: string;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "mayfly-d1-"));
  platform = await startPlatform();
});
afterAll(async () => {
  await platform.stop();
  await rm(project, { recursive: true });
});

const d1 = (...args: string[]): Promise<CommandResult> =>
  platform.wrangler(["d1", ...args], { cwd: project });

interface Answer {
  status: number;
  success: boolean;
  errors: { code: number; message: string }[];
  // The shape differs from call to call, and each test says what it expects of it.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  result: any;
  result_info?: Record<string, number>;
}

async function api(path: string, body?: unknown, method?: string): Promise<Answer> {
  const response = await platform.fetchApi(`/accounts/${platform.accountId}/d1/database${path}`, {
    method: method ?? (body === undefined ? "GET" : "POST"),
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return { status: response.status, ...((await response.json()) as Omit<Answer, "status">) };
}

async function create(name: string): Promise<string> {
  const { result } = await api("", { name });
  return result.uuid as string;
}

/** Rows of the last statement, as arrays. */
async function rows(database: string, sql: string, params?: unknown[]): Promise<unknown[][]> {
  const answer = await api(`/${database}/raw`, { sql, params });
  expect(answer.errors).toEqual([]);
  return answer.result.at(-1).results.rows;
}

describe("databases", () => {
  test("d1 create makes a database that d1 list and d1 info show", async () => {
    const created = await d1("create", "first");
    expect(created.code).toBe(0);
    const uuid = /"database_id": "([\da-f-]{36})"/.exec(created.stdout)?.[1];

    const listed = JSON.parse((await d1("list", "--json")).stdout);
    expect(listed).toContainEqual(
      expect.objectContaining({ uuid, name: "first", version: "production" }),
    );
    await rows("first", "CREATE TABLE t (a)");
    const info = JSON.parse((await d1("info", "first", "--json")).stdout);
    expect(info).toMatchObject({ uuid, name: "first", num_tables: 1 });
    expect(info.database_size).toBeGreaterThan(0);

    expect((await api("/first")).result.uuid).toBe(uuid);
    expect((await api(`/${uuid}`)).result.name).toBe("first");
    expect((await api("/first?fields=uuid%2Cname")).result).toEqual({ uuid, name: "first" });
  });

  test("a name can be taken once", async () => {
    await create("taken");
    const again = await d1("create", "taken");
    expect(again.code).toBe(1);
    expect(again.stderr).toContain("A database with that name already exists");
    expect((await api("", { name: "taken" })).errors[0]?.code).toBe(7502);
  });

  test("names that cannot be used and places that cannot be promised are refused", async () => {
    for (const name of ["", "b@d", "-x", "x".repeat(65), crypto.randomUUID(), 5]) {
      const { status, errors } = await api("", { name });
      expect(status).toBe(400);
      expect(errors[0]).toMatchObject({ code: 7400, message: expect.stringMatching(/^name: got/) });
    }
    const { errors } = await api("", { name: "europe", jurisdiction: "eu" });
    expect(errors[0]?.message).toMatch(/^jurisdiction: got "eu"/);
  });

  test("d1 list walks through all pages", async () => {
    await Promise.all(Array.from({ length: 23 }, (_, i) => create(`paged-${i}`)));
    const listed = JSON.parse((await d1("list", "--json")).stdout) as { name: string }[];
    expect(listed.filter(({ name }) => name.startsWith("paged-"))).toHaveLength(23);

    const { result, result_info } = await api("?name=paged-&per_page=10&page=3");
    expect(result).toHaveLength(3);
    expect(result_info).toMatchObject({ page: 3, per_page: 10, count: 3, total_count: 23 });
    expect((await api("?page=0")).status).toBe(400);
  });

  test("what does not exist is answered with 404 and 7404, and a hint by wrangler", async () => {
    const missing = await api("/nope");
    expect(missing.status).toBe(404);
    expect(missing.errors[0]).toMatchObject({ code: 7404 });
    const { code, stderr } = await d1("info", "nope");
    expect(code).toBe(1);
    expect(stderr).toContain("Couldn't find a D1 DB with name or binding 'nope'");
  });

  test("d1 delete removes the database and its data", async () => {
    const uuid = await create("doomed");
    await rows("doomed", "CREATE TABLE t (a)");
    expect((await d1("delete", "doomed", "-y")).code).toBe(0);
    expect((await api(`/${uuid}`)).status).toBe(404);
    expect((await api(`/${uuid}/query`, { sql: "SELECT 1" })).status).toBe(404);

    await create("doomed");
    expect(await rows("doomed", "SELECT name FROM sqlite_schema")).toEqual([]);
  });

  test("databases cannot see each other", async () => {
    const [mine, theirs] = await Promise.all([create("mine"), create("theirs")]);
    await rows(mine, "CREATE TABLE secrets (a); INSERT INTO secrets VALUES (1)");
    const { errors } = await api(`/${theirs}/query`, { sql: "SELECT * FROM secrets" });
    expect(errors[0]).toEqual({ code: 7500, message: "no such table: secrets: SQLITE_ERROR" });
    const attach = await api(`/${theirs}/query`, { sql: `ATTACH '${mine}.sqlite' AS mine` });
    expect(attach.errors[0]?.message).toBe("not authorized: SQLITE_AUTH");

    const otherAccount = await platform.fetchApi(`/accounts/${"0".repeat(32)}/d1/database/${mine}`);
    expect(otherAccount.ok).toBe(false);
  });

  test("d1 time-travel says that it is not there", async () => {
    await create("traveller");
    for (const args of [
      ["info", "traveller"],
      ["restore", "traveller", "--bookmark=0"],
    ]) {
      const { code, stderr } = await d1("time-travel", ...args);
      expect(code).toBe(1);
      expect(stderr).toContain("Time travel is not supported by Mayfly");
    }
  });
});

describe("queries", () => {
  beforeAll(() => create("queried"));

  test("d1 execute --command runs several statements and prints their rows", async () => {
    const { code, stdout } = await d1(
      "execute",
      "queried",
      "--remote",
      "--json",
      "--command",
      "CREATE TABLE notes (id INTEGER PRIMARY KEY, text); INSERT INTO notes (text) VALUES ('a;b'); -- done;\nSELECT * FROM notes",
    );
    expect(code).toBe(0);
    const results = JSON.parse(stdout);
    expect(results).toHaveLength(3);
    expect(results[1].meta).toMatchObject({ changes: 1, last_row_id: 1, changed_db: true });
    expect(results[2]).toMatchObject({ success: true, results: [{ id: 1, text: "a;b" }] });
    expect(await rows("queried", "SELECT text FROM notes")).toEqual([["a;b"]]);
  });

  test("SQL errors are 7500 and undo the whole text", async () => {
    const { code, stderr } = await d1(
      "execute",
      "queried",
      "--remote",
      "--command",
      "CREATE TABLE undone (a); SELEC",
    );
    expect(code).toBe(1);
    expect(stderr).toContain('near "SELEC": syntax error at offset 0: SQLITE_ERROR [code: 7500]');
    expect(await rows("queried", "SELECT 1 FROM sqlite_schema WHERE name = 'undone'")).toEqual([]);
    for (const sql of ["", "-- nothing\n", "BEGIN; SELECT 1; COMMIT", "PRAGMA journal_mode"]) {
      const { status, errors } = await api("/queried/query", { sql });
      expect({ status, code: errors[0]?.code }).toEqual({ status: 400, code: 7500 });
    }
  });

  test("parameters, batches, blobs and raw rows", async () => {
    const query = await api("/queried/query", {
      sql: "SELECT ? AS a, ? AS b, ? AS c",
      params: ["x", 2.5, null],
    });
    expect(query.result[0].results).toEqual([{ a: "x", b: 2.5, c: null }]);
    const batch = await api("/queried/query", {
      batch: [{ sql: "SELECT 1 AS a" }, { sql: "SELECT ? AS b", params: [true] }],
    });
    expect(batch.result.map(({ results }: Answer["result"]) => results)).toEqual([
      [{ a: 1 }],
      [{ b: 1 }],
    ]);
    const raw = await api("/queried/raw", { sql: "SELECT X'00ff' AS a, 2 AS a" });
    expect(raw.result[0].results).toEqual({ columns: ["a", "a"], rows: [[[0, 255], 2]] });
    for (const body of [{}, { sql: 5 }, { sql: "SELECT ?", params: [{}] }, [], "x"]) {
      expect((await api("/queried/query", body)).errors[0]?.code).toBe(7400);
    }
  });

  test("triggers, comments and strings do not confuse where a statement ends", async () => {
    const sql = `
      /* one; */ CREATE TABLE "odd;name" (a TEXT, b [int;eger]); -- it's; here
      CREATE TABLE log (what);
      CREATE TEMPORARY -- not allowed, but one statement;
        TRIGGER no AFTER INSERT ON log BEGIN SELECT 1; END`;
    expect((await api("/queried/query", { sql })).errors[0]?.message).toBe(
      "not authorized: SQLITE_AUTH",
    );
    const good = `${sql.slice(0, sql.indexOf("CREATE TEMPORARY"))}
      CREATE TRIGGER logged AFTER INSERT ON "odd;name" WHEN new.a <> ';' BEGIN
        INSERT INTO log VALUES (CASE new.a WHEN 'x' THEN 'END;' ELSE 'e' END);
        INSERT INTO log VALUES ('it''s; END;');
      END;
      EXPLAIN QUERY PLAN SELECT 1;;
      INSERT INTO "odd;name" VALUES ('x', 1)`;
    const { result } = await api("/queried/query", { sql: good });
    expect(result).toHaveLength(5);
    expect(await rows("queried", "SELECT what FROM log")).toEqual([["END;"], ["it's; END;"]]);
  });

  test("results that are too large are told so", async () => {
    const { status, errors } = await api("/queried/query", {
      sql: "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20) SELECT zeroblob(2000000) FROM n",
    });
    expect(status).toBe(400);
    expect(errors[0]).toMatchObject({
      code: 7500,
      message: expect.stringContaining("larger than 33554432 bytes"),
    });
  });
});

describe("files", () => {
  const SEED = `
    CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, born REAL, photo BLOB);
    CREATE TABLE pets (owner REFERENCES people (id) DEFERRABLE INITIALLY DEFERRED, big INTEGER);
    CREATE TABLE "odd ""name" (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
    CREATE INDEX pets_by_owner ON pets (owner);
    CREATE VIEW owners AS SELECT name FROM people JOIN pets ON owner = id -- a comment
    ;
    CREATE TRIGGER grow AFTER INSERT ON pets BEGIN UPDATE people SET born = born; END;
    CREATE VIRTUAL TABLE words USING fts5(text);
    CREATE VIRTUAL TABLE names USING fts5(name, content='people', content_rowid='id');
    INSERT INTO pets VALUES (1, 9223372036854775807), (2, -9223372036854775808), (NULL, 0);
    INSERT INTO people (name, born, photo) VALUES ('it''s', 0.1, X'00ff'), ('line
end', 1e300, X''), (NULL, 5e-324, NULL), ('nul' || char(0) || 'cr' || char(13) || char(10), 1.0, zeroblob(3));
    INSERT INTO people (id) VALUES (900); DELETE FROM people WHERE id = 900;
    INSERT INTO "odd ""name" VALUES ('', 9e999), ('x', -0.5), ('text', 'é🎉'), ('long', '${"a''b\n".repeat(60_000)}');
    INSERT INTO words VALUES ('some words'), ('other words');
    INSERT INTO names (names) VALUES ('rebuild');
  `;
  // Each value with its type and all its digits.
  const CONTENT = [
    "SELECT id, quote(name), hex(name), quote(born), quote(photo) FROM people ORDER BY id",
    "SELECT quote(owner), quote(big) FROM pets ORDER BY rowid",
    `SELECT k, typeof(v), quote(v), length(v) FROM "odd ""name" ORDER BY k`,
    "SELECT name, seq FROM sqlite_sequence",
    "SELECT name FROM owners ORDER BY name",
    "SELECT rowid, text FROM words WHERE words MATCH 'other'",
    "SELECT rowid FROM names WHERE names MATCH 'line'",
    "SELECT type, name FROM sqlite_schema WHERE sql NOT NULL ORDER BY type, name",
  ];
  let exported: string;
  let content: unknown[][][];

  const contentOf = (database: string): Promise<unknown[][][]> =>
    Promise.all(CONTENT.map((sql) => rows(database, sql)));

  test("d1 execute --file runs the file", async () => {
    await create("seeded");
    await writeFile(join(project, "seed.sql"), SEED);
    const { code, stdout } = await d1("execute", "seeded", "--remote", "--file", "seed.sql");
    expect(code).toBe(0);
    expect(stdout).toContain("Executed 15 queries");
    content = await contentOf("seeded");
    expect(content[0]).toHaveLength(4);
    expect(content[1]?.[0]).toEqual(["1", "9223372036854775807"]);
  });

  test("a file that fails changes nothing", async () => {
    await writeFile(join(project, "bad.sql"), "DROP TABLE pets;\nINSERT INTO people VALUES (1);");
    const { code, stderr } = await d1("execute", "seeded", "--remote", "--file", "bad.sql");
    expect(code).toBe(1);
    expect(stderr).toContain("table people has 4 columns but 1 values were supplied");
    expect(await contentOf("seeded")).toEqual(content);

    await writeFile(join(project, "bad.sql"), "-- nothing to do\n");
    const empty = await d1("execute", "seeded", "--remote", "--file", "bad.sql");
    expect(empty.stderr).toContain("No SQL statements detected.");
  });

  test("d1 export writes a file that the sqlite3 shell's library takes", async () => {
    const { code } = await d1("export", "seeded", "--remote", "--output", "all.sql");
    expect(code).toBe(0);
    exported = await readFile(join(project, "all.sql"), "utf8");
    const stock = new DatabaseSync(":memory:");
    stock.exec(exported);
    const read = CONTENT.map((sql) =>
      stock
        .prepare(sql)
        .all()
        .map((row) => Object.values(row)),
    );
    expect(read).toEqual(content);
    expect(stock.prepare("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
    expect(stock.prepare("PRAGMA foreign_key_check").all()).toEqual([]);
  });

  test("what was exported can be imported, and exported the same", async () => {
    await create("copied");
    const imported = await d1("execute", "copied", "--remote", "--file", "all.sql");
    expect(imported.stderr).not.toContain("ERROR");
    expect(imported.code).toBe(0);
    expect(await contentOf("copied")).toEqual(content);
    await d1("export", "copied", "--remote", "--output", "again.sql");
    expect(await readFile(join(project, "again.sql"), "utf8")).toBe(exported);
  });

  test("d1 export leaves out what it is told to", async () => {
    const write = async (...options: string[]): Promise<string> => {
      const { code } = await d1("export", "seeded", "--remote", "--output", "part.sql", ...options);
      expect(code).toBe(0);
      return readFile(join(project, "part.sql"), "utf8");
    };
    const schema = await write("--no-data");
    expect(schema).toContain("CREATE TABLE people");
    expect(schema).toContain("CREATE TRIGGER grow");
    expect(schema).not.toContain('INSERT INTO "people"');

    const data = await write("--no-schema", "--table", "people", "--table", "pets");
    expect(data).not.toContain("CREATE");
    expect(data).not.toContain("odd");
    expect(data.match(/^INSERT INTO "people"/gm)).toHaveLength(4);

    const table = await write("--table", "pets");
    expect(table.match(/^CREATE [A-Z]+ \w+/gm)).toEqual([
      "CREATE TABLE pets",
      "CREATE INDEX pets_by_owner",
      "CREATE TRIGGER grow",
    ]);
    const missing = await d1("export", "seeded", "--remote", "--output", "x.sql", "--table=nope");
    expect(missing.code).toBe(1);
    expect(missing.stderr).toContain("no such table: nope");
  });

  test("a link does what it was made for and no more", async () => {
    const database = await create("linked");
    const sql = "CREATE TABLE t (a);";
    const etag = createHash("md5").update(sql).digest("hex");
    const { result } = await api(`/${database}/import`, { action: "init", etag });
    const put = (url: string): Promise<Response> => fetch(url, { method: "PUT", body: sql });

    const link = new URL(result.upload_url);
    expect(link.origin).toBe(platform.url);
    expect((await fetch(link)).status).toBe(403);
    for (const [name, value] of [
      ["signature", "0".repeat(64)],
      ["expires", String(Date.now() + 1e9)],
    ] as const) {
      const changed = new URL(link);
      changed.searchParams.set(name, value);
      expect((await put(changed.href)).status).toBe(403);
    }
    const other = new URL(link);
    other.pathname = other.pathname.replace(database, crypto.randomUUID());
    expect((await put(other.href)).status).toBe(403);

    const ingest = (filename: string, etag: string): Promise<Answer> =>
      api(`/${database}/import`, { action: "ingest", filename, etag });
    expect((await ingest(result.filename, etag)).status).toBe(404);
    expect((await ingest("../code/x", etag)).status).toBe(400);

    const uploaded = await put(link.href);
    expect(uploaded.status).toBe(200);
    expect(uploaded.headers.get("etag")?.replaceAll('"', "")).toBe(etag);
    expect((await ingest(result.filename, "0".repeat(32))).errors[0]?.message).toMatch(
      /^etag: got/,
    );

    await put(link.href);
    const { result: done } = await ingest(result.filename, etag);
    expect(done).toMatchObject({ success: true, status: "complete", result: { num_queries: 1 } });
    const poll = await api(`/${database}/import`, { action: "poll", current_bookmark: "x" });
    expect(poll.result.error).toBe("Not currently importing anything.");
  });

  test("an export's link works until the file has been fetched", async () => {
    const { result } = await api("/linked/export", { output_format: "polling" });
    expect(result).toMatchObject({ success: true, status: "complete" });
    const first = await fetch(result.result.signed_url);
    expect(await first.text()).toContain("CREATE TABLE t");
    await expect
      .poll(async () => (await fetch(result.result.signed_url)).status, { timeout: 5_000 })
      .toBe(404);
  });
});

describe("migrations", () => {
  test("d1 migrations create, list and apply keep a database up to date", async () => {
    const uuid = await create("migrated");
    const folder = await mkdtemp(join(project, "migrations-"));
    const run = (...args: string[]): Promise<CommandResult> =>
      platform.wrangler(["d1", "migrations", ...args], { cwd: folder });
    await writeFile(
      join(folder, "wrangler.json"),
      JSON.stringify({
        name: "migrating",
        compatibility_date: "2026-07-01",
        d1_databases: [{ binding: "DB", database_name: "migrated", database_id: uuid }],
      }),
    );
    await mkdir(join(folder, "migrations"));
    expect((await run("create", "migrated", "first")).code).toBe(0);
    await writeFile(
      join(folder, "migrations/0001_first.sql"),
      "-- Migration number: 0001\nCREATE TABLE users (id INTEGER PRIMARY KEY, mail TEXT);\nCREATE TRIGGER lower AFTER INSERT ON users BEGIN UPDATE users SET mail = lower(mail); END;\n",
    );
    expect((await run("list", "migrated", "--remote")).stdout).toContain("0001_first.sql");
    const applied = await run("apply", "migrated", "--remote");
    expect(applied.code).toBe(0);
    expect(
      await rows(uuid, "INSERT INTO users (mail) VALUES ('A@B'); SELECT mail FROM users"),
    ).toEqual([["a@b"]]);
    expect((await run("list", "migrated", "--remote")).stdout).toContain("No migrations to apply");

    await writeFile(
      join(folder, "migrations/0002_bad.sql"),
      "ALTER TABLE users ADD COLUMN age;\nSELEC;\n",
    );
    expect((await run("apply", "migrated", "--remote")).code).toBe(1);
    expect(await rows(uuid, "SELECT name FROM d1_migrations")).toEqual([["0001_first.sql"]]);
    expect(await rows(uuid, "SELECT name FROM pragma_table_info('users')")).toEqual([
      ["id"],
      ["mail"],
    ]);
  });
});

test("data survives a restart", async () => {
  const dataDir = join(project, "data");
  const before = await startPlatform({ dataDir });
  await post(before, "", { name: "kept" });
  const sql = "CREATE TABLE t (a); INSERT INTO t VALUES ('still here')";
  expect((await post(before, "/kept/query", { sql })).status).toBe(200);
  // Killed, not stopped: an answer means that the data is on disk.
  await before.kill();

  const after = await startPlatform({ dataDir });
  try {
    const read = await post(after, "/kept/query", { sql: "SELECT a FROM t" });
    expect(await read.json()).toMatchObject({ result: [{ results: [{ a: "still here" }] }] });
  } finally {
    await after.stop();
  }
});

const post = (on: Platform, path: string, body: unknown): Promise<Response> =>
  on.fetchApi(`/accounts/${on.accountId}/d1/database${path}`, {
    method: "POST",
    body: JSON.stringify(body),
  });
