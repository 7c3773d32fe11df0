import type { Feed, Operation, TableSubscription } from "../triggers/database/protocol.ts";
import { randomHex } from "./crypto.ts";

/** Has changes of a database's table sent to a queue. */
export interface DatabaseSubscription {
  /** 32 hex digits; of declared ones another one after each deployment. */
  id: string;
  databaseId: string;
  databaseName: string;
  tableName: string;
  queueId: string;
  queueName: string;
  operations: Operation[];
  /** The script that declares it; undefined if it was made through the API. */
  scriptName: string | undefined;
  createdAt: string;
}

interface Row {
  id: string;
  database_id: string;
  database_name: string;
  table_name: string;
  queue_id: string;
  queue_name: string;
  operations: string;
  script_name: string | null;
  created_at: string;
}

const SELECT = `SELECT s.id, s.database_id, d.name AS database_name, s.table_name, s.queue_id,
    q.name AS queue_name, s.operations, c.name AS script_name, s.created_at
  FROM database_subscriptions s JOIN databases d ON d.id = s.database_id
  JOIN queues q ON q.id = s.queue_id LEFT JOIN scripts c ON c.id = s.script_id`;

const fromRow = (row: Row): DatabaseSubscription => ({
  id: row.id,
  databaseId: row.database_id,
  databaseName: row.database_name,
  tableName: row.table_name,
  queueId: row.queue_id,
  queueName: row.queue_name,
  operations: JSON.parse(row.operations) as Operation[],
  scriptName: row.script_name ?? undefined,
  createdAt: row.created_at,
});

/** The account's subscriptions by database, table and queue. */
export async function listSubscriptions(
  db: D1Database,
  accountId: string,
): Promise<DatabaseSubscription[]> {
  const { results } = await db
    .prepare(`${SELECT} WHERE d.account_id = ? ORDER BY d.name, s.table_name, q.name, c.name`)
    .bind(accountId)
    .all<Row>();
  return results.map(fromRow);
}

/** The account's subscription with this id, or undefined. */
export async function findSubscription(
  db: D1Database,
  accountId: string,
  id: string,
): Promise<DatabaseSubscription | undefined> {
  const row = await db
    .prepare(`${SELECT} WHERE d.account_id = ? AND s.id = ?`)
    .bind(accountId, id)
    .first<Row>();
  return row ? fromRow(row) : undefined;
}

/** Makes a subscription, or changes the operations of the one that the API made before; its id. */
export async function putSubscription(
  db: D1Database,
  databaseId: string,
  { tableName, queueId, operations }: TableSubscription,
): Promise<string> {
  const id = await db
    .prepare(
      `INSERT INTO database_subscriptions (id, database_id, table_name, queue_id, operations, created_at)
      VALUES (?, ?, ?, ?, ?, ?)
      ON CONFLICT (database_id, lower(table_name), queue_id) WHERE script_id IS NULL
      DO UPDATE SET operations = excluded.operations RETURNING id`,
    )
    .bind(
      randomHex(16),
      databaseId,
      tableName,
      queueId,
      JSON.stringify(operations),
      new Date().toISOString(),
    )
    .first<string>("id");
  return id ?? "";
}

export async function deleteSubscription(db: D1Database, id: string): Promise<void> {
  await db.prepare("DELETE FROM database_subscriptions WHERE id = ?").bind(id).run();
}

/**
 * Gives the version's script the subscriptions that the versions of its current deployment declare,
 * as far as their databases and queues are there, and no others: part of each batch that deploys.
 */
export function declareSubscriptions(db: D1Database, versionId: string): D1PreparedStatement[] {
  const scriptId = "(SELECT script_id FROM versions WHERE id = ?1)";
  return [
    db.prepare(`DELETE FROM database_subscriptions WHERE script_id = ${scriptId}`).bind(versionId),
    db
      .prepare(
        `INSERT INTO database_subscriptions (id, database_id, table_name, queue_id, operations, script_id, created_at)
        SELECT lower(hex(randomblob(16))), * FROM (
          SELECT DISTINCT database.id, declared.value ->> 'table', q.id,
            json_extract(declared.value, '$.operations'), v.script_id, d.created_at
          FROM deployments d JOIN json_each(d.versions) part
          JOIN versions v ON v.id = part.value ->> 'version_id'
          JOIN json_each(v.metadata, '$.mayfly.database_changes') declared
          JOIN json_each(v.bindings) binding ON binding.value ->> 'type' = 'd1'
            AND binding.value ->> 'name' = declared.value ->> 'binding'
          JOIN databases database ON database.id = binding.value ->> 'id'
          JOIN queues q ON q.account_id = database.account_id AND q.name = declared.value ->> 'queue'
          WHERE d.script_id = ${scriptId}
            AND d.number = (SELECT max(number) FROM deployments WHERE script_id = d.script_id))`,
      )
      .bind(versionId),
  ];
}

/** A feed that a database's object may not know of yet. */
export interface ChangedFeed extends Feed {
  /** The shard of its database. */
  shard: number;
  /** What the object is to be told, as it is kept in `database_feeds` afterwards. */
  wanted: string;
}

/** The feeds that differ from what their objects were told last; of one account or of all. */
export async function listChangedFeeds(
  db: D1Database,
  accountId: string | undefined,
): Promise<ChangedFeed[]> {
  const { results } = await db
    .prepare(
      `WITH wanted AS (
        SELECT database_id, json_group_array(json_object('tableName', table_name, 'queueId', queue_id,
          'operations', json(operations)) ORDER BY table_name, queue_id, operations) AS subscriptions
        FROM (SELECT DISTINCT database_id, table_name, queue_id, operations FROM database_subscriptions)
        GROUP BY database_id
      )
      SELECT d.id, d.account_id, d.name, d.shard, coalesce(w.subscriptions, '[]') AS wanted
      FROM databases d LEFT JOIN wanted w ON w.database_id = d.id
      LEFT JOIN database_feeds f ON f.database_id = d.id
      WHERE coalesce(w.subscriptions, '[]') <> coalesce(f.told, '[]')
        AND d.account_id = coalesce(?, d.account_id)`,
    )
    .bind(accountId ?? null)
    .all<{ id: string; account_id: string; name: string; shard: number; wanted: string }>();
  return results.map(({ id, account_id, name, shard, wanted }) => ({
    accountId: account_id,
    databaseId: id,
    databaseName: name,
    shard,
    subscriptions: JSON.parse(wanted) as TableSubscription[],
    wanted,
  }));
}

/** Notes what the object is told; before it is told, "": nobody knows which of the two it goes by. */
export async function noteFeed(db: D1Database, databaseId: string, told: string): Promise<void> {
  await db
    .prepare(
      "INSERT INTO database_feeds (database_id, told) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET told = ?2",
    )
    .bind(databaseId, told)
    .run();
}
