import type { Env } from "../env.ts";
import catalog from "../../migrations/0001_catalog.sql";
import invocations from "../../migrations/0002_invocations.sql";
import events from "../../migrations/0003_events.sql";
import apart from "../../migrations/0004_apart.sql";
import shards from "../../migrations/0005_shards.sql";
import egress from "../../migrations/0006_egress.sql";
import usage from "../../migrations/0007_usage.sql";
import tails from "../../migrations/0008_tails.sql";
import storage from "../../migrations/0009_storage.sql";
import budgets from "../../migrations/0010_budgets.sql";
import logs from "../../migrations/0011_logs.sql";
import { randomHex } from "./crypto.ts";

// In order. The table is the one that `wrangler d1 migrations` keeps, so both agree on what ran.
const MIGRATIONS = [
  { name: "0001_catalog.sql", sql: catalog },
  { name: "0002_invocations.sql", sql: invocations },
  { name: "0003_events.sql", sql: events },
  { name: "0004_apart.sql", sql: apart },
  { name: "0005_shards.sql", sql: shards },
  { name: "0006_egress.sql", sql: egress },
  { name: "0007_usage.sql", sql: usage },
  { name: "0008_tails.sql", sql: tails },
  { name: "0009_storage.sql", sql: storage },
  { name: "0010_budgets.sql", sql: budgets },
  { name: "0011_logs.sql", sql: logs },
];

let ready = false;

/** Brings the catalog up to date and makes the default account, once per process. */
export async function prepareCatalog(env: Env): Promise<void> {
  if (ready) return;
  await migrate(env.CATALOG);
  await createDefaultAccount(env);
  ready = true;
}

async function migrate(db: D1Database): Promise<void> {
  await db.exec(
    "CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)",
  );
  for (const { name, sql } of MIGRATIONS) {
    const applied = (): Promise<unknown> =>
      db.prepare("SELECT 1 FROM d1_migrations WHERE name = ?").bind(name).first();
    if (await applied()) continue;
    try {
      await db.batch([
        db.prepare("INSERT INTO d1_migrations (name) VALUES (?)").bind(name),
        ...statements(sql).map((statement) => db.prepare(statement)),
      ]);
    } catch (error) {
      // Another request may have applied it meanwhile: the name is unique, so only one batch wins.
      if (!(await applied())) throw error;
    }
  }
}

// Migrations here hold no trigger bodies and no semicolon in a string, so this is all it takes.
function statements(sql: string): string[] {
  return sql
    .replace(/^\s*--.*$/gm, "")
    .split(";")
    .map((statement) => statement.trim())
    .filter((statement) => statement !== "");
}

async function createDefaultAccount(env: Env): Promise<void> {
  const now = new Date().toISOString();
  await env.CATALOG.prepare(
    "INSERT INTO accounts (id, name, subdomain, created_at) VALUES (?, 'Mayfly', ?, ?) ON CONFLICT DO NOTHING",
  )
    .bind(env.MAYFLY_ACCOUNT_ID ?? randomHex(16), env.MAYFLY_SUBDOMAIN, now)
    .run();
  // The base domain and the configured ones belong to the default account.
  for (const zone of [env.MAYFLY_DOMAIN, ...(env.MAYFLY_ZONES ?? "").split(",")]) {
    if (zone.trim() === "") continue;
    await env.CATALOG.prepare(
      "INSERT INTO zones (id, account_id, name, created_at) SELECT ?, id, ?, ? FROM accounts WHERE subdomain = ? ON CONFLICT DO NOTHING",
    )
      .bind(randomHex(16), zone.trim().toLowerCase(), now, env.MAYFLY_SUBDOMAIN)
      .run();
  }
}
