import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { callApi, type Answer } from "./harness/api.ts";
import { succeeds } from "./harness/expect-command.ts";
import { MAIN, sendForm } from "./harness/form.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { until } from "./harness/processes.ts";
import {
  account,
  backlogCount,
  createDatabase,
  createQueue,
  deployQueueWorker,
} from "./harness/queue.ts";

interface Change {
  /** Of the message. */
  id: string;
  timestamp: number;
  account: string;
  database: { id: string; name: string };
  table: string;
  operation: string;
  sequence: number;
  eventTime: string;
  old: Record<string, unknown> | null;
  new: Record<string, unknown> | null;
  truncated?: true;
}

const CHANGES_WITHIN_MS = 10_000;

const folder = mkdtempSync(join(tmpdir(), "mayfly-changes-"));
let platform: Platform;

beforeAll(async () => {
  platform = await startPlatform({ dataDir: join(folder, "data") });
});
afterAll(async () => {
  await platform.stop();
  rmSync(folder, { recursive: true });
});

const api = (method: string, path: string, body?: unknown): Promise<Answer> =>
  callApi(platform, method, `/accounts/${platform.accountId}${path}`, body);

const SUBSCRIPTIONS = "/mayfly/database-subscriptions";

/** A queue whose messages the test pulls. */
async function pulledQueue(name: string): Promise<string> {
  const id = await createQueue(platform, name);
  await account(platform, "POST", `/queues/${id}/consumers`, { type: "http_pull" });
  return id;
}

let count = 0;

/** A database and a queue that gets the changes of the tables. */
async function feed(...tables: string[]): Promise<{ name: string; id: string; queueId: string }> {
  const name = `feed-${++count}`;
  const [id, queueId] = await Promise.all([createDatabase(platform, name), pulledQueue(name)]);
  for (const table of tables) await subscribe({ database_id: id, table, queue_name: name });
  return { name, id, queueId };
}

const subscribe = (body: Record<string, unknown>): Promise<{ id: string }> =>
  account(platform, "POST", SUBSCRIPTIONS, body);

interface Result {
  results: Record<string, unknown>[];
  meta: Record<string, number>;
}

/** Runs the statements, in one transaction. */
const run = (database: string, sql: string, params?: unknown[]): Promise<Result[]> =>
  account(platform, "POST", `/d1/database/${database}/query`, { sql, params });

const batch = (database: string, ...sql: string[]): Promise<Answer> =>
  api("POST", `/d1/database/${database}/query`, { batch: sql.map((sql) => ({ sql })) });

/** Names of what is in the database, without the runtime's own. */
async function schemaOf(database: string): Promise<unknown[]> {
  const [result] = await run(
    database,
    "SELECT name FROM sqlite_schema WHERE name NOT LIKE '\\_cf\\_%' ESCAPE '\\'",
  );
  return result?.results.map(({ name }) => name) ?? [];
}

interface Pulled {
  id: string;
  timestamp_ms: number;
  lease_id: string;
  body: string;
}

/** Takes what is in the queue, in the order in which it comes. */
async function pull(queueId: string): Promise<Change[]> {
  const path = `/queues/${queueId}/messages`;
  const { messages } = await account<{ messages: Pulled[] }>(platform, "POST", `${path}/pull`, {
    batch_size: 100,
  });
  const acks = messages.map(({ lease_id }) => ({ lease_id }));
  if (acks.length > 0) await account(platform, "POST", `${path}/ack`, { acks });
  return messages.map(({ id, timestamp_ms, body }) => ({
    ...(JSON.parse(Buffer.from(body, "base64").toString()) as Change),
    id,
    timestamp: timestamp_ms,
  }));
}

/** Waits for so many changes and gives them; fails if there are more. */
async function changes(queueId: string, expected: number): Promise<Change[]> {
  const all: Change[] = [];
  await until(async () => {
    all.push(...(await pull(queueId)));
    return all.length >= expected;
  }, CHANGES_WITHIN_MS);
  all.push(...(await pull(queueId)));
  expect(all).toHaveLength(expected);
  return all;
}

/** Changes in short. */
const brief = (all: Change[]): unknown[][] =>
  all.map(({ operation, old, new: row }) => [operation, old, row]);

const wrangler = (...args: string[]): Promise<string> =>
  succeeds(platform.wrangler(args, { cwd: folder }));

describe("a change", () => {
  test("is told with both rows, the statement's time and a number that grows by one", async () => {
    const { name, id, queueId } = await feed("t");
    await run(id, "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)");
    const before = Date.now();
    await run(id, "INSERT INTO t (a) VALUES ('one')");
    await run(id, "UPDATE t SET a = 'two'");
    await run(id, "DELETE FROM t");
    const after = Date.now();

    const told = await changes(queueId, 3);
    expect(told[0]).toEqual({
      id: expect.stringMatching(/^[\da-f]{32}$/),
      timestamp: expect.any(Number),
      account: platform.accountId,
      database: { id, name },
      table: "t",
      operation: "insert",
      sequence: 1,
      eventTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      old: null,
      new: { id: 1, a: "one" },
    });
    expect(brief(told)).toEqual([
      ["insert", null, { id: 1, a: "one" }],
      ["update", { id: 1, a: "one" }, { id: 1, a: "two" }],
      ["delete", { id: 1, a: "two" }, null],
    ]);
    expect(told.map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
    for (const { eventTime, timestamp } of told) {
      expect(Date.parse(eventTime)).toBeGreaterThanOrEqual(before - 5);
      expect(Date.parse(eventTime)).toBeLessThanOrEqual(after + 5);
      expect(timestamp).toBe(Date.parse(eventTime));
    }
  });

  test("has values as D1 answers them, whatever they are", async () => {
    const { id, queueId } = await feed("t");
    await run(id, "CREATE TABLE t (a ANY, b ANY, c ANY, d ANY, e ANY, f ANY) STRICT");
    await run(
      id,
      `INSERT INTO t VALUES (x'00ff10', NULL, 9007199254740993, 9e999, 0.1 + 0.2, 'é "\\' || char(0) || '🐝');
       INSERT INTO t VALUES (x'', -9e999, -0.0, 1e300, '{"blob":"AA"}', json('{"blob":"AA"}'));
       INSERT INTO t VALUES (json('[1]'), 'CREATE TABLE', '''; DROP', -5, 1.0, '')`,
    );
    const [{ results } = { results: [] }] = await run(id, "SELECT * FROM t ORDER BY rowid");
    expect(results[0]).toMatchObject({ a: [0, 255, 16], b: null, d: null });
    const told = await changes(queueId, 3);
    expect(told.map((change) => change.new)).toEqual(results);
  });

  test("has all columns, generated ones too, however they and the table are called", async () => {
    const { id, queueId } = await feed(`Odd "table's" [name]; --`);
    const columns = Array.from({ length: 90 }, (_, i) => `column${i}`);
    await run(
      id,
      `CREATE TABLE "Odd ""table's"" [name]; --" ("a b" TEXT, "select" TEXT, "quo""te's" TEXT, __proto__ TEXT,
        twice AS ("a b" || "a b"), stored AS (length("a b")) STORED, ${columns.join(", ")}, PRIMARY KEY ("select", "a b")) WITHOUT ROWID`,
    );
    await run(
      id,
      `INSERT INTO "Odd ""table's"" [name]; --" ("a b", "select", "quo""te's", __proto__, column89) VALUES ('x', 'y', 'z', 'p', 89)`,
    );
    const [told] = await changes(queueId, 1);
    expect(told?.table).toBe(`Odd "table's" [name]; --`);
    expect(Object.entries(told?.new ?? {})).toEqual([
      ["a b", "x"],
      ["select", "y"],
      [`quo"te's`, "z"],
      ["__proto__", "p"],
      ["twice", "xx"],
      ["stored", 1],
      ...columns.map((name) => [name, name === "column89" ? 89 : null]),
    ]);
  });

  test("too large for a message keeps its primary key and says so", async () => {
    const { id, queueId } = await feed("t");
    await run(id, "CREATE TABLE t (a TEXT, k TEXT, b BLOB, PRIMARY KEY (k))");
    await run(id, "INSERT INTO t VALUES (?, 'text', NULL)", ["x".repeat(1_000_000)]);
    await run(id, "INSERT INTO t VALUES (NULL, 'blob', zeroblob(100000))");
    await run(id, "INSERT INTO t VALUES (NULL, 'fits', zeroblob(60000))");
    await run(id, "UPDATE t SET b = NULL WHERE k = 'blob'");
    await run(id, "INSERT INTO t VALUES (NULL, ?, NULL)", ["k".repeat(200_000)]);
    const told = await changes(queueId, 5);
    expect(told.map(({ old, new: row, truncated }) => [old, row, truncated])).toEqual([
      [null, { k: "text" }, true],
      [null, { k: "blob" }, true],
      [null, { a: null, k: "fits", b: Array.from({ length: 60_000 }, () => 0) }, undefined],
      [{ k: "blob" }, { k: "blob" }, true],
      [null, {}, true],
    ]);
  });

  test("that is undone is not told", async () => {
    const { id, queueId } = await feed("t");
    await run(id, "CREATE TABLE t (a UNIQUE)");
    const undone = await batch(id, "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (1)");
    expect(undone.status).toBe(400);
    await run(id, "INSERT OR IGNORE INTO t VALUES (2), (2), (3)");
    const told = await changes(queueId, 2);
    expect(told.map(({ sequence, new: row }) => [sequence, row])).toEqual([
      [1, { a: 2 }],
      [2, { a: 3 }],
    ]);
  });
});

describe("changes are told of", () => {
  test("upserts, replaced rows and deletions of all rows", async () => {
    const { id, queueId } = await feed("t");
    await run(id, "CREATE TABLE t (k INTEGER PRIMARY KEY, u UNIQUE, n)");
    await run(id, "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 1)");
    await run(id, "INSERT INTO t VALUES (1, 'x', 5) ON CONFLICT DO UPDATE SET n = n + 1");
    await run(id, "INSERT OR REPLACE INTO t VALUES (1, 'b', 9)");
    await run(id, "DELETE FROM t");
    const told = brief(await changes(queueId, 7));
    const replaced = [
      ["delete", { k: 1, u: "a", n: 2 }, null],
      ["delete", { k: 2, u: "b", n: 1 }, null],
    ];
    expect(told.slice(0, 3)).toEqual([
      ["insert", null, { k: 1, u: "a", n: 1 }],
      ["insert", null, { k: 2, u: "b", n: 1 }],
      ["update", { k: 1, u: "a", n: 1 }, { k: 1, u: "a", n: 2 }],
    ]);
    expect(told.slice(3, 5)).toEqual(expect.arrayContaining(replaced));
    expect(told.slice(5)).toEqual([
      ["insert", null, { k: 1, u: "b", n: 9 }],
      ["delete", { k: 1, u: "b", n: 9 }, null],
    ]);
  });

  test("replaced rows as long as the user has no triggers, whose meaning that would change", async () => {
    const { id, queueId } = await feed("t");
    await run(id, "CREATE TABLE t (k PRIMARY KEY, n); CREATE TABLE log (n)");
    await run(id, "CREATE TRIGGER logged AFTER DELETE ON t BEGIN INSERT INTO log VALUES (1); END");
    await run(id, "INSERT INTO t VALUES (1, 1); REPLACE INTO t VALUES (1, 2)");
    const [counted] = await run(id, "SELECT count(*) AS count FROM log");
    expect(counted?.results).toEqual([{ count: 0 }]);
    await run(id, "DROP TRIGGER logged");
    await batch(id, "CREATE TRIGGER undone AFTER DELETE ON t BEGIN SELECT 1; END", "SELECT nope");
    await run(id, "REPLACE INTO t VALUES (1, 3)");
    expect(brief(await changes(queueId, 4))).toEqual([
      ["insert", null, { k: 1, n: 1 }],
      ["insert", null, { k: 1, n: 2 }],
      ["delete", { k: 1, n: 2 }, null],
      ["insert", null, { k: 1, n: 3 }],
    ]);
  });

  test("cascades and the user's own triggers, in the order in which a row has changed", async () => {
    const { id, queueId } = await feed("parent", "child");
    await run(
      id,
      `CREATE TABLE parent (id INTEGER PRIMARY KEY, n DEFAULT 0);
       CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES parent ON DELETE CASCADE);
       CREATE TRIGGER counted AFTER INSERT ON parent BEGIN UPDATE parent SET n = n + 1 WHERE id = new.id; END;`,
    );
    await run(id, "INSERT INTO parent (id) VALUES (1)");
    await run(id, "INSERT INTO child VALUES (7, 1)");
    await run(id, "DELETE FROM parent");
    const told = await changes(queueId, 5);
    const of = (table: string): unknown[][] => brief(told.filter((one) => one.table === table));
    expect(of("parent")).toEqual([
      ["insert", null, { id: 1, n: 0 }],
      ["update", { id: 1, n: 0 }, { id: 1, n: 1 }],
      ["delete", { id: 1, n: 1 }, null],
    ]);
    expect(of("child")).toEqual([
      ["insert", null, { id: 7, parent: 1 }],
      ["delete", { id: 7, parent: 1 }, null],
    ]);
  });

  test("batches, texts of several statements and imports, in order", async () => {
    const { name, id, queueId } = await feed("t");
    await batch(id, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)");
    await run(id, "INSERT INTO t VALUES (3); INSERT INTO t VALUES ('4 create'); SELECT 5");
    const rows = Array.from({ length: 3_000 }, (_, i) => `INSERT INTO t VALUES (${i + 5});`);
    writeFileSync(join(folder, "rows.sql"), rows.join("\n"));
    await wrangler("d1", "execute", name, "--remote", "-y", "--file", "rows.sql");
    await wrangler("d1", "execute", name, "--remote", "-y", "--command", "DELETE FROM t WHERE a=5");
    const told = await changes(queueId, 3_005);
    expect(told.map(({ sequence }) => sequence)).toEqual(told.map((_, i) => i + 1));
    expect(told.slice(0, 4).map((one) => one.new?.["a"])).toEqual([1, 2, 3, "4 create"]);
    expect(told.slice(4, -1).map((one) => one.new?.["a"])).toEqual(rows.map((_, i) => i + 5));
    expect(brief(told.slice(-1))).toEqual([["delete", { a: 5 }, null]]);
  });

  test("a worker's binding", async () => {
    const { id, queueId } = await feed("t");
    await run(id, "CREATE TABLE t (a, b)");
    const script = `/accounts/${platform.accountId}/workers/scripts/writer`;
    const code = `export default { async fetch(request, { DB }) {
      const insert = DB.prepare("INSERT INTO t VALUES (?, ?)");
      const results = await DB.batch([insert.bind(1, new Uint8Array([1, 2])), insert.bind("create", null)]);
      await DB.exec("INSERT INTO t VALUES (3, 3)\\nDELETE FROM t WHERE a = 3");
      return Response.json(results.map(({ meta }) => [meta.changes, meta.last_row_id]));
    } }`;
    await sendForm(
      platform,
      "PUT",
      script,
      { bindings: [{ type: "d1", name: "DB", id }] },
      { "index.js": code },
    );
    await callApi(platform, "POST", `${script}/subdomain`, { enabled: true });
    const response = await platform.fetchHost("writer.dev.localhost");
    expect(await response.json()).toEqual([
      [1, 1],
      [1, 2],
    ]);
    expect(brief(await changes(queueId, 4))).toEqual([
      ["insert", null, { a: 1, b: [1, 2] }],
      ["insert", null, { a: "create", b: null }],
      ["insert", null, { a: 3, b: 3 }],
      ["delete", { a: 3, b: 3 }, null],
    ]);
  });
});

test("a consumer that fails gets a table's changes in order all the same", async () => {
  const { name, id } = await feed();
  const handled = await createDatabase(platform, "handled");
  await run(handled, "CREATE TABLE handled (n INTEGER PRIMARY KEY, name, sequence, attempts)");
  const queue = `${name}-failing`;
  const queueId = await createQueue(platform, queue);
  // Fails in the middle of each batch that it has not seen before.
  const code = `export default { async queue({ messages }, { DB }) {
    const fails = messages[0].attempts === 1 && messages.length > 1;
    const seen = fails ? messages.slice(0, messages.length >> 1) : messages;
    await DB.batch(seen.map(({ body, attempts }) =>
      DB.prepare("INSERT INTO handled (name, sequence, attempts) VALUES (?, ?, ?)")
        .bind(body.table, body.sequence, attempts)));
    if (fails) throw new Error("now and then");
  } };`;
  await deployQueueWorker(platform, {
    name: "failing",
    code,
    isolation: "shared",
    bindings: [{ type: "d1", name: "DB", id: handled }],
    consumes: [{ queueId, settings: { batch_size: 10, max_wait_time_ms: 0, max_retries: 20 } }],
  });
  const tables = ["t", "u"];
  for (const table of tables) await subscribe({ database_id: id, table, queue_name: queue });
  await run(id, "CREATE TABLE t (a); CREATE TABLE u (a)");
  for (let i = 0; i < 10; i++) {
    const rows = Array.from({ length: 5 }, (_, j) => `(${i * 5 + j})`).join();
    await run(id, `INSERT INTO t VALUES ${rows}; INSERT INTO u VALUES ${rows}`);
  }
  const all = async (): Promise<Record<string, unknown>[]> =>
    (await run(handled, "SELECT * FROM handled ORDER BY n"))[0]?.results ?? [];
  const distinct = async (): Promise<number> =>
    new Set((await all()).map(({ sequence }) => sequence)).size;
  await until(async () => (await distinct()) === 100, CHANGES_WITHIN_MS);

  const rows = await all();
  expect(rows.some(({ attempts }) => attempts === 2)).toBe(true);
  for (const table of tables) {
    const first = new Set(
      rows.filter((row) => row["name"] === table).map((row) => row["sequence"]),
    );
    expect([...first]).toEqual([...first].toSorted((a, b) => Number(a) - Number(b)));
  }
});

describe("a table's schema", () => {
  test("can change in every way, and changes are told by its new columns and name", async () => {
    const { id, queueId } = await feed("t");
    const run1 = (sql: string): Promise<Result[]> => run(id, sql);
    await run1("CREATE TABLE T (a, b); INSERT INTO t VALUES (1, 2);");
    await run1("ALTER TABLE t ADD COLUMN c DEFAULT 3; UPDATE t SET a = 2;");
    await run1("UPDATE t SET a = 3; ALTER TABLE t RENAME COLUMN b TO d; UPDATE t SET a = 4;");
    await run1("ALTER TABLE t DROP COLUMN c");
    await run1("UPDATE t SET a = 5");
    await run1(`CREATE TABLE t2 (a, d, e);
      INSERT INTO t2 SELECT a, d, 'e' FROM t; DROP TABLE t; ALTER TABLE t2 RENAME TO t;
      INSERT INTO t VALUES (6, 6, 6);`);
    await run1("ALTER TABLE t RENAME TO away; INSERT INTO away VALUES (0, 0, 0)");
    await run1("CREATE TABLE t (z); INSERT INTO t VALUES ('again')");
    const told = await changes(queueId, 7);
    expect(brief(told)).toEqual([
      ["insert", null, { a: 1, b: 2 }],
      ["update", { a: 1, b: 2, c: 3 }, { a: 2, b: 2, c: 3 }],
      ["update", { a: 2, b: 2, c: 3 }, { a: 3, b: 2, c: 3 }],
      ["update", { a: 3, d: 2, c: 3 }, { a: 4, d: 2, c: 3 }],
      ["update", { a: 4, d: 2 }, { a: 5, d: 2 }],
      ["insert", null, { a: 6, d: 6, e: 6 }],
      ["insert", null, { z: "again" }],
    ]);
    expect(told.map(({ table }) => table)).toEqual(["T", "T", "T", "T", "T", "t", "t"]);
  });

  test("can lose a table with all that refers to its rows", async () => {
    const { id, queueId } = await feed("parent", "child");
    await run(id, "CREATE TABLE parent (id INTEGER PRIMARY KEY)");
    await run(id, "CREATE TABLE child (parent REFERENCES parent ON DELETE CASCADE)");
    await run(id, "INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1); DROP TABLE parent");
    const told = await changes(queueId, 3);
    expect(brief(told.filter(({ table }) => table === "child"))).toEqual([
      ["insert", null, { parent: 1 }],
      ["delete", { parent: 1 }, null],
    ]);
    expect(await schemaOf(id)).not.toContain("mayfly_changes insert parent");
  });

  test("stays as it was, and its changes are told, when a migration fails half-way", async () => {
    const { id, queueId } = await feed("t");
    await run(id, "CREATE TABLE t (a, b)");
    const failed = await api("POST", `/d1/database/${id}/query`, {
      sql: "ALTER TABLE t DROP COLUMN b; INSERT INTO t VALUES (1); INSERT INTO nope VALUES (1)",
    });
    expect(failed.message).toContain("no such table: nope");
    const refused = await api("POST", `/d1/database/${id}/query`, {
      sql: "ALTER TABLE t DROP COLUMN nope",
    });
    expect(refused.message).toContain("no such column");
    await run(id, "INSERT INTO t VALUES (1, 2)");
    expect(brief(await changes(queueId, 1))).toEqual([["insert", null, { a: 1, b: 2 }]]);
  });

  test("can be brought about by wrangler's migrations", async () => {
    const { name, id, queueId } = await feed("t");
    const cwd = mkdtempSync(join(folder, "project-"));
    const config = {
      name: "migrated",
      compatibility_date: "2026-07-01",
      d1_databases: [{ binding: "DB", database_name: name, database_id: id, migrations_dir: "." }],
    };
    writeFileSync(join(cwd, "wrangler.json"), JSON.stringify(config));
    const apply = async (file: string, sql: string): Promise<void> => {
      writeFileSync(join(cwd, file), sql);
      const args = ["d1", "migrations", "apply", "DB", "--remote"];
      await succeeds(platform.wrangler(args, { cwd }));
    };
    await apply("0001_t.sql", "CREATE TABLE t (a);\nINSERT INTO t VALUES (1);");
    await apply("0002_b.sql", "UPDATE t SET a = 2;\nALTER TABLE t ADD b;\nUPDATE t SET b = 3;");
    expect(brief(await changes(queueId, 3))).toEqual([
      ["insert", null, { a: 1 }],
      ["update", { a: 1 }, { a: 2 }],
      ["update", { a: 2, b: null }, { a: 2, b: 3 }],
    ]);
  });
});

describe("a database with subscriptions", () => {
  test("answers as one without", async () => {
    const [plain, { id }] = await Promise.all([createDatabase(platform, "plain"), feed("t", "c")]);
    const statements = [
      "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, u UNIQUE, n)",
      "CREATE TABLE c (t REFERENCES t ON DELETE CASCADE)",
      "INSERT INTO t (u, n) VALUES ('a', 1), ('b', 2)",
      "INSERT INTO c VALUES (1), (1), (2)",
      "UPDATE t SET n = n + 1 RETURNING *",
      "INSERT OR REPLACE INTO t (u, n) VALUES ('b', 3)",
      "DELETE FROM t WHERE u = 'a'",
      "SELECT changes(), last_insert_rowid()",
      "UPDATE t SET n = 5; INSERT INTO c VALUES (3); DELETE FROM c",
      "CREATE INDEX i ON t (n)",
      "ALTER TABLE t ADD COLUMN x",
      "PRAGMA table_info(t)",
      "SELECT * FROM t",
    ];
    for (const sql of statements) {
      const [expected, given] = await Promise.all([run(plain, sql), run(id, sql)]);
      const visible = ({ results, meta }: Result): unknown => [
        results,
        meta["changes"],
        meta["last_row_id"],
        meta["rows_written"],
      ];
      expect([sql, ...given.map(visible)]).toEqual([sql, ...expected.map(visible)]);
    }
  });

  test("is exported without what feeds its queues, and counts its own tables only", async () => {
    const { name, id, queueId } = await feed("t");
    await run(id, "CREATE TABLE t (a); INSERT INTO t VALUES (1)");
    await changes(queueId, 1);
    await wrangler("d1", "export", name, "--remote", "--output", "export.sql");
    const sql = readFileSync(join(folder, "export.sql"), "utf8");
    expect(sql).toContain("CREATE TABLE t (a)");
    expect(sql).not.toContain("mayfly");
    expect((await api("GET", `/d1/database/${id}`)).result.num_tables).toBe(1);
  });

  test("keeps the name of its outbox to itself", async () => {
    const { id, queueId } = await feed("t");
    await run(id, "CREATE TABLE t (a)");
    const plain = await createDatabase(platform, "reserved");
    for (const [database, sql] of [
      [id, "INSERT INTO mayfly_changes (seq) VALUES (1)"],
      [id, 'SELECT 1; DELETE FROM "MAYFLY_changes"'],
      [id, "DROP TABLE mayfly_changes"],
      [id, 'DROP TRIGGER "mayfly_changes insert t"'],
      [plain, "CREATE TABLE mayfly_changes (a)"],
    ] as const) {
      const { status, message } = await api("POST", `/d1/database/${database}/query`, { sql });
      expect([status, message]).toEqual([
        400,
        expect.stringMatching(/^mayfly_changes: .*reserved/),
      ]);
    }
    await run(id, "SELECT count(*) FROM mayfly_changes");
    await run(id, "INSERT INTO t VALUES ('mayfly_changes')");
    // As a dump of the sqlite3 shell does it.
    await run(id, "DELETE FROM sqlite_sequence").catch(() => {});
    await run(id, "INSERT INTO t VALUES (2)");
    const told = await changes(queueId, 2);
    expect(told.map(({ sequence }) => sequence)).toEqual([1, 2]);
  });
});

describe("subscriptions", () => {
  test("can be made, listed, changed and removed", async () => {
    const { name, id, queueId } = await feed();
    await run(id, "CREATE TABLE t (a); INSERT INTO t VALUES ('before')");
    const body = { database_name: name, table: "t", queue_name: name, operations: ["delete"] };
    const made = await subscribe(body);
    expect(made).toEqual({
      id: expect.stringMatching(/^[\da-f]{32}$/),
      database_id: id,
      database_name: name,
      table: "t",
      queue_id: queueId,
      queue_name: name,
      operations: ["delete"],
      script: null,
      created_on: expect.any(String),
    });
    await run(id, "INSERT INTO t VALUES (1); DELETE FROM t WHERE a = 1");
    expect(brief(await changes(queueId, 1))).toEqual([["delete", { a: 1 }, null]]);

    const again = await subscribe({ ...body, table: "T", operations: ["insert", "delete"] });
    expect(again).toMatchObject({ id: made.id, operations: ["insert", "delete"] });
    expect((await api("GET", SUBSCRIPTIONS)).result).toContainEqual(again);
    expect((await api("GET", `${SUBSCRIPTIONS}/${made.id}`)).result).toEqual(again);
    await run(id, "INSERT INTO t VALUES (2)");
    const [inserted] = await changes(queueId, 1);
    expect(inserted).toMatchObject({ operation: "insert", new: { a: 2 } });

    expect((await api("DELETE", `${SUBSCRIPTIONS}/${made.id}`)).status).toBe(200);
    expect((await api("DELETE", `${SUBSCRIPTIONS}/${made.id}`)).status).toBe(404);
    await run(id, "INSERT INTO t VALUES (3)");
    expect(await schemaOf(id)).toEqual(["t"]);

    // Numbers go on, so that none is given twice.
    await subscribe(body);
    await run(id, "DELETE FROM t WHERE a = 2");
    const [deleted] = await changes(queueId, 1);
    expect(deleted?.sequence).toBe((inserted?.sequence ?? 0) + 1);
  });

  test("of several queues each get what they ask for, in messages of their own", async () => {
    const { id, name, queueId } = await feed("t", "u");
    const other = await pulledQueue(`${name}-other`);
    await subscribe({
      database_id: id,
      table: "t",
      queue_name: `${name}-other`,
      operations: ["update"],
    });
    await run(id, "CREATE TABLE t (a); CREATE TABLE u (a); CREATE TABLE v (a)");
    await run(
      id,
      "INSERT INTO t VALUES (1); INSERT INTO u VALUES (2); INSERT INTO v VALUES (3); UPDATE t SET a = 4",
    );
    const all = await changes(queueId, 3);
    const some = await changes(other, 1);
    // Only within a table there is an order.
    all.sort((a, b) => a.sequence - b.sequence);
    expect(all.map(({ table, operation }) => [table, operation])).toEqual([
      ["t", "insert"],
      ["u", "insert"],
      ["t", "update"],
    ]);
    const update = all[2] as Change;
    expect(some).toEqual([{ ...update, id: expect.any(String) }]);
    expect(some[0]?.id).not.toBe(update.id);
  });

  test("that cannot be are refused with the field, the value and what is allowed", async () => {
    const { name } = await feed();
    const body = { database_name: name, table: "t", queue_name: name };
    const cases: [Record<string, unknown>, number, number, string][] = [
      [{ ...body, queue_name: "nope" }, 404, 11000, 'queue_name: got "nope"'],
      [{ ...body, database_name: "nope" }, 404, 7404, "database_name: The database nope"],
      [{ ...body, table: "mayfly_changes" }, 400, 7400, 'table: got "mayfly_changes"'],
      [{ ...body, table: "" }, 400, 7400, "table: got"],
      [{ ...body, operations: ["upsert"] }, 400, 7400, 'operations.0: got "upsert"'],
      [{ ...body, operations: [] }, 400, 7400, "operations: got []"],
      [{ ...body, database_id: name }, 400, 7400, "must have either database_id or database_name"],
      [{ ...body, kind: 1 }, 400, 7400, "kind: Mayfly knows no such member"],
    ];
    for (const [given, status, code, message] of cases) {
      const answer = await api("POST", SUBSCRIPTIONS, given);
      expect([answer.status, answer.code, answer.message]).toEqual([
        status,
        code,
        expect.stringContaining(message),
      ]);
    }
  });

  test("end with their database", async () => {
    const { id, queueId } = await feed("t");
    await run(id, "CREATE TABLE t (a); INSERT INTO t VALUES (1)");
    await changes(queueId, 1);
    expect((await api("DELETE", `/d1/database/${id}`)).status).toBe(200);
    const { result } = await api("GET", SUBSCRIPTIONS);
    expect(result.filter((one: { database_id: string }) => one.database_id === id)).toEqual([]);
  });
});

/** Table and operations of what the script declares. */
async function declared(): Promise<[string, string][]> {
  const { result } = await api("GET", SUBSCRIPTIONS);
  return (result as { script: string; table: string; operations: string[] }[])
    .filter(({ script }) => script === "declaring")
    .map(({ table, operations }) => [table, operations.join()]);
}

describe("declared by a script", () => {
  const SCRIPT = "/workers/scripts/declaring";

  /** Uploads a version that declares the changes, deployed or not; its id. */
  async function version(
    databaseId: string,
    database_changes: unknown,
    deployed = true,
  ): Promise<Answer> {
    const metadata = {
      bindings: [{ type: "d1", name: "DB", id: databaseId }],
      mayfly: { database_changes },
      annotations: { "workers/message": crypto.randomUUID() },
    };
    const path = `/accounts/${platform.accountId}${SCRIPT}`;
    return sendForm(
      platform,
      deployed ? "PUT" : "POST",
      deployed ? path : `${path}/versions`,
      metadata,
      { "index.js": MAIN },
    );
  }

  test("they follow its deployments and end with it", async () => {
    const { name, id, queueId } = await feed();
    await run(id, "CREATE TABLE t (a); CREATE TABLE u (a)");
    const insertBoth = (a: number): Promise<unknown> =>
      run(id, `INSERT INTO t VALUES (${a}); INSERT INTO u VALUES (${a})`);
    const t = { binding: "DB", table: "t", queue: name };
    const u = { ...t, table: "u", operations: ["insert"] };
    const all = "insert,update,delete";

    const first = (await version(id, [t])).result.deployment_id as string;
    expect(await declared()).toEqual([["t", all]]);
    await insertBoth(1);
    expect((await changes(queueId, 1)).map(({ table }) => table)).toEqual(["t"]);

    const second = (await version(id, [u], false)).result.id as string;
    expect(await declared()).toEqual([["t", all]]);
    const deploy = (...versions: [string, number][]): Promise<Answer> =>
      api("POST", `${SCRIPT}/deployments`, {
        strategy: "percentage",
        versions: versions.map(([version_id, percentage]) => ({ version_id, percentage })),
      });
    await deploy([first, 50], [second, 50]);
    expect(await declared()).toEqual([
      ["t", all],
      ["u", "insert"],
    ]);
    await deploy([second, 100]);
    expect(await declared()).toEqual([["u", "insert"]]);
    await insertBoth(2);
    expect((await changes(queueId, 1)).map(({ table }) => table)).toEqual(["u"]);

    await deploy([first, 100]);
    expect(await declared()).toEqual([["t", all]]);
    const [{ id: subscriptionId }] = (await api("GET", SUBSCRIPTIONS)).result.filter(
      (one: { script: string }) => one.script === "declaring",
    );
    const refused = await api("DELETE", `${SUBSCRIPTIONS}/${subscriptionId}`);
    expect([refused.status, refused.message]).toEqual([
      409,
      expect.stringContaining('declared by the script "declaring"'),
    ]);
    await api("DELETE", SCRIPT);
    expect(await declared()).toEqual([]);
    await insertBoth(3);
    expect(await schemaOf(id)).toEqual(["t", "u"]);
    await changes(queueId, 0);
  });

  test("wrong ones are refused at upload with the field and the value", async () => {
    const { name, id } = await feed();
    const good = { binding: "DB", table: "t", queue: name };
    const cases: [unknown, string][] = [
      [[{ ...good, queue: "nope" }], 'mayfly.database_changes.0.queue: got "nope"'],
      [[good, { ...good, binding: "DATA" }], 'mayfly.database_changes.1.binding: got "DATA"'],
      [
        [{ ...good, operations: ["upsert"] }],
        'mayfly.database_changes.0.operations.0: got "upsert"',
      ],
      [
        [{ ...good, table: "sqlite_schema" }],
        'mayfly.database_changes.0.table: got "sqlite_schema"',
      ],
    ];
    for (const [changes, message] of cases) {
      const answer = await version(id, changes);
      expect([answer.status, answer.code, answer.message]).toEqual([
        400,
        10021,
        expect.stringContaining(message),
      ]);
    }
  });
});

describe("a crash", () => {
  test("loses no change that was committed and breaks no order", async () => {
    const { id, queueId } = await feed("a", "b");
    await run(id, "CREATE TABLE a (n INTEGER); CREATE TABLE b (n INTEGER)");
    const committed: Record<"a" | "b", Set<number>> = { a: new Set(), b: new Set() };
    const told: Change[] = [];
    let number = 0;
    for (let kill = 0; kill < 4; kill++) {
      const stop = new AbortController();
      const write = async (table: "a" | "b"): Promise<void> => {
        while (!stop.signal.aborted) {
          const n = ++number;
          const answered = await run(
            id,
            `INSERT INTO ${table} VALUES (${n}); UPDATE ${table} SET n = -n WHERE n = ${n}`,
          ).catch(() => undefined);
          if (answered) committed[table].add(n);
        }
      };
      const writers = [write("a"), write("b")];
      await sleep(300 + 200 * kill);
      if (kill % 2 === 1) told.push(...(await pull(queueId)));
      await platform.kill();
      stop.abort();
      await Promise.all(writers);
      platform = await startPlatform({ dataDir: join(folder, "data") });
    }
    const [{ results } = { results: [] }] = await run(
      id,
      "SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b) AS rows",
    );
    const expected = 2 * Number(results[0]?.["rows"]);
    expect(expected).toBeGreaterThanOrEqual(2 * (committed.a.size + committed.b.size));
    expect(committed.a.size).toBeGreaterThan(10);
    await until(async () => {
      told.push(...(await pull(queueId)));
      return new Set(told.map(({ sequence }) => sequence)).size >= expected;
    }, 30_000);

    // A change told twice is the same message.
    const bySequence = new Map(told.map((change) => [change.sequence, change.id]));
    expect(new Set(told.map(({ sequence, id }) => `${sequence} ${id}`)).size).toBe(bySequence.size);
    expect(new Set(bySequence.values()).size).toBe(bySequence.size);
    expect([...bySequence.keys()].toSorted((x, y) => x - y)).toEqual(
      Array.from({ length: expected }, (_, i) => i + 1),
    );
    for (const table of ["a", "b"] as const) {
      const seen = new Set<number>();
      const first = told.filter(
        (one) => one.table === table && !seen.has(one.sequence) && seen.add(one.sequence),
      );
      expect(first.map(({ sequence }) => sequence)).toEqual([...seen].toSorted((x, y) => x - y));
      const inserted = first.filter(({ operation }) => operation === "insert");
      const numbers = new Set(inserted.map((one) => one.new?.["n"]));
      for (const n of committed[table]) expect(numbers).toContain(n);
    }
  });

  test("leaves changes that go to their queue after the start, though nobody asks the database", async () => {
    const { id, queueId } = await feed("t");
    await run(id, "CREATE TABLE t (a)");
    await run(
      id,
      `WITH RECURSIVE n (a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM n WHERE a < 20000)
       INSERT INTO t SELECT a FROM n`,
    );
    await platform.kill();
    platform = await startPlatform({ dataDir: join(folder, "data") });
    await until(async () => (await backlogCount(platform, queueId)) === 20_000, 30_000);
  });

  test("between the catalog and a database is made up for at the next start", async () => {
    const { id, name, queueId } = await feed();
    await run(id, "CREATE TABLE t (a)");
    await restartAfter(
      `INSERT INTO database_subscriptions (id, database_id, table_name, queue_id, operations, created_at)
       VALUES ('${name}', '${id}', 't', '${queueId}', '["insert"]', '')`,
    );
    await until(async () => (await schemaOf(id)).includes("mayfly_changes"), CHANGES_WITHIN_MS);
    await run(id, "INSERT INTO t VALUES (1)");
    expect(brief(await changes(queueId, 1))).toEqual([["insert", null, { a: 1 }]]);

    await restartAfter(`DELETE FROM database_subscriptions WHERE id = '${name}'`);
    await until(async () => (await schemaOf(id)).join() === "t", CHANGES_WITHIN_MS);
  });
});

/** Leaves things as a crash does that comes after the catalog's change and before a database is told. */
async function restartAfter(sql: string): Promise<void> {
  await platform.kill();
  const path = join(folder, "data/state/d1/miniflare-D1DatabaseObject");
  const files = readdirSync(path).filter((file) => /^[\da-f]{64}\.sqlite$/.test(file));
  expect(files).toHaveLength(1);
  const catalog = new DatabaseSync(join(path, files[0] as string));
  catalog.exec(sql);
  catalog.close();
  platform = await startPlatform({ dataDir: join(folder, "data") });
}
