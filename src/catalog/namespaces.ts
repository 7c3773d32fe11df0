import { keyPrefix } from "../bindings/key-space.ts";
import { discard } from "./garbage.ts";
import { Recent } from "./recent.ts";

/** A KV namespace as the catalog knows it; its values are in the platform's own namespace. */
export interface Namespace {
  /** 32 hex digits. */
  id: string;
  accountId: string;
  title: string;
  /** Never given twice: makes the prefix of the namespace's keys. */
  number: number;
}

interface Row {
  id: string;
  account_id: string;
  title: string;
  number: number;
}

const COLUMNS = "id, account_id, title, number";

const fromRow = (row: Row): Namespace => ({
  id: row.id,
  accountId: row.account_id,
  title: row.title,
  number: row.number,
});

/** The account's namespace with this id, or undefined. */
export async function findNamespace(
  db: D1Database,
  accountId: string,
  id: string,
): Promise<Namespace | undefined> {
  const row = await db
    .prepare(`SELECT ${COLUMNS} FROM kv_namespaces WHERE account_id = ? AND id = ?`)
    .bind(accountId, id)
    .first<Row>();
  return row ? fromRow(row) : undefined;
}

const recent = new Recent<Namespace>();

/** Like `findNamespace`, for the calls of bindings: remembers it for some seconds. */
export function recentNamespace(
  db: D1Database,
  accountId: string,
  id: string,
): Promise<Namespace | undefined> {
  return recent.get(`${accountId}/${id}`, () => findNamespace(db, accountId, id));
}

/** Columns that namespaces can be listed by. */
export type NamespaceOrder = "id" | "title";

/** The account's namespaces in the order asked for. */
export async function listNamespaces(
  db: D1Database,
  accountId: string,
  order: NamespaceOrder = "title",
  direction: "asc" | "desc" = "asc",
): Promise<Namespace[]> {
  const { results } = await db
    .prepare(
      `SELECT ${COLUMNS} FROM kv_namespaces WHERE account_id = ? ORDER BY ${order} ${direction}`,
    )
    .bind(accountId)
    .all<Row>();
  return results.map(fromRow);
}

/** The new namespace, or undefined if the account has one with this title. */
export async function createNamespace(
  db: D1Database,
  accountId: string,
  id: string,
  title: string,
): Promise<Namespace | undefined> {
  const row = await db
    .prepare(
      `INSERT INTO kv_namespaces (id, account_id, title, created_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING ${COLUMNS}`,
    )
    .bind(id, accountId, title, new Date().toISOString())
    .first<Row>();
  return row ? fromRow(row) : undefined;
}

/** Whether the title was free; `false` leaves the old one. */
export async function renameNamespace(
  db: D1Database,
  accountId: string,
  id: string,
  title: string,
): Promise<boolean> {
  const { meta } = await db
    .prepare("UPDATE OR IGNORE kv_namespaces SET title = ? WHERE account_id = ? AND id = ?")
    .bind(title, accountId, id)
    .run();
  return meta.changes > 0;
}

/** Forgets the namespace; its values are garbage from now on. */
export async function deleteNamespace(db: D1Database, namespace: Namespace): Promise<void> {
  await db.batch([
    db.prepare("DELETE FROM kv_namespaces WHERE number = ?").bind(namespace.number),
    discard(db, "kv", keyPrefix(namespace.number)),
  ]);
  recent.forget(`${namespace.accountId}/${namespace.id}`);
}
