import { enqueue } from "../bindings/queue/enqueue.ts";
import type { ContentType, NewMessage } from "../bindings/queue/protocol.ts";
import { hex, sha256 } from "../catalog/crypto.ts";
import { prepareCatalog } from "../catalog/migrate.ts";
import type { Env } from "../env.ts";
import { log } from "../observe/log.ts";
import { stateOf } from "../roles/contract.ts";

// Doubles with each attempt: what keeps the platform from storing messages takes a while to repair.
const FIRST_RETRY_SECONDS = 10;
const LAST_RETRY_SECONDS = 3_600;

/**
 * Passes a batch of one of Cloudflare's own queues on to the default account's queue of the same
 * name. Messages that are stored there are acknowledged, the others come again.
 */
export async function takeNativeBatch(
  batch: MessageBatch,
  env: Env,
  ctx: ExecutionContext,
): Promise<void> {
  const state = stateOf(env, ctx);
  const take = async (messages: readonly Message[]): Promise<void> => {
    const taken = await Promise.all(messages.map(toNewMessage));
    if (!(await state.takeNative(batch.queue, taken))) {
      throw new Error(`Queue "${batch.queue}" does not exist in the default account.`);
    }
    for (const message of messages) message.ack();
  };
  try {
    await take(batch.messages);
  } catch {
    // They are stored all or none. One that never can be must not keep the others back.
    for (const message of batch.messages) {
      await take([message]).catch((error: unknown) => retry(message, batch.queue, error));
    }
  }
}

function retry(message: Message, queue: string, error: unknown): void {
  const { id, attempts } = message;
  const delaySeconds = Math.min(FIRST_RETRY_SECONDS * 2 ** (attempts - 1), LAST_RETRY_SECONDS);
  message.retry({ delaySeconds });
  log("error", "native_message_delayed", {
    queue,
    id,
    attempts,
    retry_after_seconds: delaySeconds,
    message: String(error),
  });
}

/** See `StateRole.takeNative`. */
export async function storeNative(
  env: Env,
  queueName: string,
  messages: NewMessage[],
): Promise<boolean> {
  await prepareCatalog(env);
  const queueId = await env.CATALOG.prepare(
    `SELECT q.id FROM queues q JOIN accounts a ON a.id = q.account_id
    WHERE a.subdomain = ? AND q.name = ?`,
  )
    .bind(env.MAYFLY_SUBDOMAIN, queueName)
    .first<string>("id");
  return queueId !== null && enqueue(env, queueId, messages, "native");
}

async function toNewMessage({ id, timestamp, body }: Message): Promise<NewMessage> {
  return {
    // A batch that is delivered again, since the answer got lost, has the same ids again.
    id: /^[0-9a-f]{32}$/.test(id) ? id : hex(await sha256(id)).slice(0, 32),
    timestamp: timestamp.getTime(),
    ...toStored(body),
  };
}

// A native message does not tell its content type. Consumers see the same value with any that fits.
function toStored(body: unknown): { contentType: ContentType; body: unknown } {
  if (typeof body === "string") return { contentType: "text", body };
  if (body instanceof ArrayBuffer) return { contentType: "bytes", body };
  if (body instanceof Uint8Array) return { contentType: "bytes", body: body.slice().buffer };
  if (isJson(body)) return { contentType: "json", body: JSON.stringify(body) };
  return { contentType: "v8", body };
}

/** Whether the value is the same after it has been written as JSON and read again. */
function isJson(value: unknown): boolean {
  if (value === null || typeof value === "boolean" || typeof value === "string") return true;
  if (typeof value === "number") return Number.isFinite(value);
  if (Array.isArray(value))
    return value.every(isJson) && Object.keys(value).length === value.length;
  if (typeof value !== "object" || Object.getPrototypeOf(value) !== Object.prototype) return false;
  return Object.values(value).every(isJson);
}
