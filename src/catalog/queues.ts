import { randomHex } from "./crypto.ts";
import { Recent } from "./recent.ts";

/** A queue as the catalog knows it; its messages are in an object of its own. */
export interface Queue {
  /** 32 hex digits. */
  id: string;
  accountId: string;
  name: string;
  /** ISO 8601 in UTC. */
  createdAt: string;
  modifiedAt: string;
  settings: QueueSettings;
}

/** In the API's names and units. */
export interface QueueSettings {
  /** Seconds until a message is delivered that does not say otherwise. */
  delivery_delay: number;
  /** Seconds after which a message that nobody acknowledged is dropped. */
  message_retention_period: number;
  delivery_paused: boolean;
}

/** Who takes a queue's messages. Settings have the API's names and units; all are filled in. */
export type Consumer = WorkerConsumer | PullConsumer;

interface ConsumerBase {
  /** 32 hex digits. */
  id: string;
  /** Name of the queue of the same account that takes what could not be handled. */
  deadLetterQueue: string | undefined;
  createdAt: string;
}
export interface WorkerConsumer extends ConsumerBase {
  type: "worker";
  scriptName: string;
  settings: {
    batch_size: number;
    max_wait_time_ms: number;
    max_retries: number;
    /** Seconds. */
    retry_delay: number;
    /** Undefined: as many as the backlog deserves. */
    max_concurrency?: number;
  };
}
export interface PullConsumer extends ConsumerBase {
  type: "http_pull";
  settings: {
    batch_size: number;
    max_retries: number;
    /** Seconds. */
    retry_delay: number;
    visibility_timeout_ms: number;
  };
}

/** https://developers.cloudflare.com/queues/configuration/configure-queues/ */
export const DEFAULT_SETTINGS = {
  worker: { batch_size: 10, max_wait_time_ms: 5_000, max_retries: 3, retry_delay: 0 },
  http_pull: { batch_size: 5, max_retries: 3, retry_delay: 0, visibility_timeout_ms: 30_000 },
} satisfies { worker: WorkerConsumer["settings"]; http_pull: PullConsumer["settings"] };

interface Row {
  id: string;
  account_id: string;
  name: string;
  created_at: string;
  modified_at: string;
  delivery_delay: number;
  message_retention_period: number;
  delivery_paused: 0 | 1;
}

/** Columns of a queue `q`. */
const COLUMNS = `q.id, q.account_id, q.name, q.created_at, q.modified_at, q.delivery_delay,
  q.message_retention_period, q.delivery_paused`;

const fromRow = (row: Row): Queue => ({
  id: row.id,
  accountId: row.account_id,
  name: row.name,
  createdAt: row.created_at,
  modifiedAt: row.modified_at,
  settings: {
    delivery_delay: row.delivery_delay,
    message_retention_period: row.message_retention_period,
    delivery_paused: row.delivery_paused === 1,
  },
});

/** The account's queue with this name, or undefined. */
export async function findQueue(
  db: D1Database,
  accountId: string,
  name: string,
): Promise<Queue | undefined> {
  const row = await db
    .prepare(`SELECT ${COLUMNS} FROM queues q WHERE q.account_id = ? AND q.name = ?`)
    .bind(accountId, name)
    .first<Row>();
  return row ? fromRow(row) : undefined;
}

/** The new queue, or undefined if the account has one of this name. */
export async function createQueue(
  db: D1Database,
  accountId: string,
  name: string,
  settings: QueueSettings,
): Promise<Queue | undefined> {
  const now = new Date().toISOString();
  const queue = { id: randomHex(16), accountId, name, createdAt: now, modifiedAt: now, settings };
  const { meta } = await db
    .prepare(
      `INSERT INTO queues (id, account_id, name, created_at, modified_at, delivery_delay,
        message_retention_period, delivery_paused) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (account_id, name) DO NOTHING`,
    )
    .bind(queue.id, accountId, name, now, now, ...toColumns(settings))
    .run();
  return meta.changes === 0 ? undefined : queue;
}

/** Changes the settings given and leaves the others, whoever changes those meanwhile. */
export async function updateQueue(
  db: D1Database,
  queue: Queue,
  settings: Partial<QueueSettings>,
): Promise<void> {
  await db
    .prepare(
      `UPDATE queues SET modified_at = ?, delivery_delay = coalesce(?, delivery_delay),
        message_retention_period = coalesce(?, message_retention_period),
        delivery_paused = coalesce(?, delivery_paused) WHERE id = ?`,
    )
    .bind(new Date().toISOString(), ...toColumns(settings), queue.id)
    .run();
  forgetQueue(queue);
}

function toColumns(settings: Partial<QueueSettings>): (number | null)[] {
  const { delivery_delay, message_retention_period, delivery_paused } = settings;
  return [
    delivery_delay ?? null,
    message_retention_period ?? null,
    delivery_paused === undefined ? null : Number(delivery_paused),
  ];
}

/** When the queue's messages were last purged, ISO 8601 in UTC; null if never. */
export async function getPurgedAt(db: D1Database, queueId: string): Promise<string | null> {
  return db.prepare("SELECT purged_at FROM queues WHERE id = ?").bind(queueId).first("purged_at");
}

export async function setPurgedAt(db: D1Database, queueId: string, at: string): Promise<void> {
  await db.prepare("UPDATE queues SET purged_at = ? WHERE id = ?").bind(at, queueId).run();
}

/** Forgets the queue with its consumer and all that points to it by id; its object is for the caller. */
export async function deleteQueue(db: D1Database, queue: Queue): Promise<void> {
  await db.prepare("DELETE FROM queues WHERE id = ?").bind(queue.id).run();
  forgetQueue(queue);
}

const recent = new Recent<Queue>();

/** Like `findQueue`, for the calls of bindings: remembers it for some seconds. */
export function recentQueue(
  db: D1Database,
  accountId: string,
  name: string,
): Promise<Queue | undefined> {
  return recent.get(`${accountId}/${name}`, () => findQueue(db, accountId, name));
}

/** To be called after each change of the queue. */
export function forgetQueue({ accountId, name }: Pick<Queue, "accountId" | "name">): void {
  recent.forget(`${accountId}/${name}`);
}

/** A queue and who takes its messages. */
export interface ConsumedQueue {
  queue: Queue;
  consumer: Consumer | undefined;
}

interface ConsumedRow extends Row {
  consumer_id: string | null;
  type: Consumer["type"];
  script_name: string | null;
  dead_letter_queue: string | null;
  consumer_settings: string;
  consumer_created_at: string;
}

const CONSUMED = `SELECT ${COLUMNS}, c.id AS consumer_id, c.type, s.name AS script_name,
    c.dead_letter_queue, c.settings AS consumer_settings, c.created_at AS consumer_created_at
  FROM queues q LEFT JOIN queue_consumers c ON c.queue_id = q.id
  LEFT JOIN scripts s ON s.id = c.script_id`;

/** The queue and who takes its messages: all that its object goes by; undefined if it is gone. */
export async function loadQueue(
  db: D1Database,
  queueId: string,
): Promise<ConsumedQueue | undefined> {
  const row = await db.prepare(`${CONSUMED} WHERE q.id = ?`).bind(queueId).first<ConsumedRow>();
  return row ? { queue: fromRow(row), consumer: toConsumer(row) } : undefined;
}

/** The account's queues by name; if `names` are given, those of them that exist. */
export async function listQueues(
  db: D1Database,
  accountId: string,
  names: string[],
): Promise<ConsumedQueue[]> {
  const { results } = await db
    .prepare(
      `${CONSUMED} WHERE q.account_id = ?1
        AND (?2 = '[]' OR q.name IN (SELECT value FROM json_each(?2))) ORDER BY q.name`,
    )
    .bind(accountId, JSON.stringify(names))
    .all<ConsumedRow>();
  return results.map((row) => ({ queue: fromRow(row), consumer: toConsumer(row) }));
}

/** Queues of all accounts, the oldest first. */
export async function listOldestQueues(db: D1Database, limit: number): Promise<Queue[]> {
  const { results } = await db
    .prepare(`SELECT ${COLUMNS} FROM queues q ORDER BY q.created_at, q.id LIMIT ?`)
    .bind(limit)
    .all<Row>();
  return results.map(fromRow);
}

function toConsumer(row: ConsumedRow): Consumer | undefined {
  if (row.consumer_id === null) return undefined;
  const base = {
    id: row.consumer_id,
    deadLetterQueue: row.dead_letter_queue ?? undefined,
    createdAt: row.consumer_created_at,
  };
  const settings = JSON.parse(row.consumer_settings) as Partial<PullConsumer["settings"]>;
  return row.type === "worker"
    ? {
        ...base,
        type: "worker",
        scriptName: row.script_name ?? "",
        settings: { ...DEFAULT_SETTINGS.worker, ...settings },
      }
    : { ...base, type: "http_pull", settings: { ...DEFAULT_SETTINGS.http_pull, ...settings } };
}
