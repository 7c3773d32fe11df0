// https://developers.cloudflare.com/queues/platform/limits/
import type { StorableMessage } from "./stored-message.ts";
import type { NewMessage } from "./protocol.ts";

export const MAX_MESSAGE_BYTES = 128_000;
export const MAX_BATCH_MESSAGES = 100;
export const MAX_BATCH_BYTES = 256_000;
export const MAX_DELAY_SECONDS = 86_400;
/** What a queue may hold: 25 GB. */
export const MAX_BACKLOG_BYTES = 25_000_000_000;

// https://developers.cloudflare.com/queues/reference/error-codes/
const CODES = {
  messageMetadata: 10203,
  messageSize: 10204,
  batchSize: 10205,
  batchCount: 10206,
  storageLimit: 10251,
} as const;

/** What Cloudflare says of a message that it does not take: the code comes last. */
function refusal(code: keyof typeof CODES, message: string): Error {
  return new Error(`${message} (${CODES[code]})`);
}

/**
 * Fails if the messages are more, or together larger, than one call may send, or if the queue would hold
 * too much with them.
 */
export function checkBatch(messages: StorableMessage[], backlogBytes: number): void {
  if (messages.length > MAX_BATCH_MESSAGES) {
    throw refusal(
      "batchCount",
      `batch message count of ${messages.length} exceeds limit of ${MAX_BATCH_MESSAGES}`,
    );
  }
  const bytes = messages.reduce((sum, message) => sum + message.bytes, 0);
  if (bytes > MAX_BATCH_BYTES) {
    throw refusal("batchSize", `batch size of ${bytes} bytes exceeds limit of ${MAX_BATCH_BYTES}`);
  }
  const total = backlogBytes + bytes;
  if (total > MAX_BACKLOG_BYTES) {
    throw refusal(
      "storageLimit",
      `Queue backlog of ${total} bytes exceeds limit of ${MAX_BACKLOG_BYTES}`,
    );
  }
}

/** The message as it is stored. Fails if there is something wrong with it. */
export function toStorable(
  { body, contentType, delaySeconds, id, timestamp, orderingKey, trace }: NewMessage,
  defaultDelaySeconds: number,
  now: number,
): StorableMessage {
  const delay = delaySeconds ?? defaultDelaySeconds;
  if (!isDelay(delay)) {
    throw refusal(
      "messageMetadata",
      `message delay ${delay} is invalid: must be an integer between 0 and ${MAX_DELAY_SECONDS} (seconds)`,
    );
  }
  const bytes = sizeOf({ body, contentType });
  if (bytes > MAX_MESSAGE_BYTES) {
    throw refusal(
      "messageSize",
      `message length of ${bytes} bytes exceeds limit of ${MAX_MESSAGE_BYTES}`,
    );
  }
  return {
    contentType,
    body,
    bytes,
    sentAt: timestamp ?? now,
    visibleAt: now + delay * 1000,
    ...(id !== undefined && { id }),
    ...(orderingKey !== undefined && { orderingKey }),
    ...(trace !== undefined && { trace }),
  };
}

const isDelay = (seconds: unknown): seconds is number =>
  Number.isInteger(seconds) && (seconds as number) >= 0 && (seconds as number) <= MAX_DELAY_SECONDS;

/** When a message is visible again that is retried with the delay, which a handler may have got wrong. */
export function visibleAfter(now: number, delaySeconds: number): number {
  return now + Math.min(Math.max(Math.trunc(delaySeconds) || 0, 0), MAX_DELAY_SECONDS) * 1000;
}

const encoder = new TextEncoder();

/** The size of a message's body in bytes. Fails if it is not what its content type says. */
function sizeOf({ body, contentType }: Pick<NewMessage, "body" | "contentType">): number {
  switch (contentType) {
    case "json":
    case "text":
      if (typeof body === "string") return encoder.encode(body).byteLength;
      break;
    case "bytes":
      if (body instanceof ArrayBuffer) return body.byteLength;
      break;
    case "v8":
      return estimate(body, new Set());
    default:
      throw refusal(
        "messageMetadata",
        `message content type ${String(contentType)} is invalid: must be one of json, text, bytes, v8`,
      );
  }
  throw refusal("messageMetadata", `message body is not of content type ${contentType}`);
}

// What V8 writes before each value, more or less.
const VALUE_BYTES = 2;

/**
 * About what V8's serializer makes of the value, which nobody outside the runtime can ask: strings with
 * one byte for each character, or two if any needs two, numbers with up to eight.
 */
function estimate(value: unknown, seen: Set<object>): number {
  switch (typeof value) {
    case "string":
      return VALUE_BYTES + value.length * (/[^\0-\xff]/.test(value) ? 2 : 1);
    case "number":
    case "bigint":
      return VALUE_BYTES + (Number.isInteger(value) ? 4 : 8);
    case "object":
      break;
    default:
      return VALUE_BYTES;
  }
  if (value === null || seen.has(value)) return VALUE_BYTES;
  seen.add(value);
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
    return VALUE_BYTES * 2 + value.byteLength;
  }
  if (value instanceof Date) return VALUE_BYTES + 8;
  const parts: Iterable<unknown> =
    value instanceof Map
      ? Array.from(value).flat()
      : value instanceof Set || Array.isArray(value)
        ? value
        : value instanceof Error
          ? [value.name, value.message, value.stack]
          : Object.entries(value).flat();
  let bytes = VALUE_BYTES;
  for (const part of parts) bytes += estimate(part, seen);
  return bytes;
}
