import { Hono, type Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import * as z from "zod";
import { queueObject } from "../bindings/queue/enqueue.ts";
import type {
  Backlog,
  DeliveredMessage,
  NewMessage,
  PulledBatch,
  Settled,
} from "../bindings/queue/protocol.ts";
import { toBase64 } from "../catalog/crypto.ts";
import type { ConsumedQueue } from "../catalog/queues.ts";
import type { ControlEnv } from "./app.ts";
import { parse, parseJson } from "./body.ts";
import { success } from "./envelope.ts";
import { ApiError } from "./error.ts";
import { requireQueue } from "./queue.ts";
import { BATCH_SIZE, DELAY_SECONDS, VISIBILITY_TIMEOUT_MS } from "./queue-settings.ts";

/** https://developers.cloudflare.com/queues/reference/error-codes/ */
const CODES = {
  noPull: 0,
  noQueue: 10104,
  schema: 10207,
  malformed: 10208,
  paused: 10252,
} as const;

/** For what the queue's object does not take, by its code; 400 for all others. */
const STATUS: Partial<Record<number, ContentfulStatusCode>> = {
  10204: 413,
  10205: 413,
  10251: 429,
};

const delay_seconds = DELAY_SECONDS.optional();
const message = z
  .strictObject({
    body: z.unknown(),
    content_type: z.enum(["json", "text"], 'must be "json" or "text"').default("json"),
    delay_seconds,
  })
  .refine(({ body }) => body !== undefined, { path: ["body"], error: "must be given" })
  .refine(({ body, content_type }) => content_type === "json" || typeof body === "string", {
    path: ["body"],
    error: 'must be a string, as content_type is "text"',
  });
const BatchBody = z.strictObject({
  messages: z.array(message).min(1, "must be at least one message"),
  delay_seconds,
});
const PullBody = z.strictObject({
  batch_size: BATCH_SIZE.optional(),
  visibility_timeout_ms: VISIBILITY_TIMEOUT_MS.optional(),
  // The older name of the same.
  visibility_timeout: VISIBILITY_TIMEOUT_MS.optional(),
});
const lease_id = z.string();
const AckBody = z.strictObject({
  acks: z.array(z.strictObject({ lease_id })).default([]),
  retries: z.array(z.strictObject({ lease_id, delay_seconds })).default([]),
});

/** Messages over HTTP: https://developers.cloudflare.com/queues/configuration/pull-consumers/ */
export const queueMessages = new Hono<ControlEnv>();

queueMessages.post("/messages", async (c) => send(c, [await readBody(c, message)]));

queueMessages.post("/messages/batch", async (c) => {
  const body = await readBody(c, BatchBody);
  return send(c, body.messages, body.delay_seconds);
});

queueMessages.post("/messages/pull", async (c) => {
  const { queue, consumer } = await queueOf(c);
  const body = await readBody(c, PullBody);
  if (consumer?.type !== "http_pull") {
    throw new ApiError(
      400,
      CODES.noPull,
      "messages cannot be pulled unless http_pull mode is enabled",
    );
  }
  if (queue.settings.delivery_paused) {
    throw new ApiError(409, CODES.paused, "queue_delivery_paused");
  }
  const visibilityTimeoutMs = body.visibility_timeout_ms ?? body.visibility_timeout;
  const pulling: Promise<unknown> = queueObject(c.env, queue.id).pull({
    ...(body.batch_size !== undefined && { batchSize: body.batch_size }),
    ...(visibilityTimeoutMs !== undefined && { visibilityTimeoutMs }),
  });
  // Stubs' types know no bodies of any kind.
  const { backlogCount, messages } = (await pulling) as PulledBatch;
  return success({ message_backlog_count: backlogCount, messages: messages.map(toPulled) });
});

queueMessages.post("/messages/ack", async (c) => {
  const { queue } = await queueOf(c);
  const { acks, retries } = await readBody(c, AckBody);
  const settled: Settled = await queueObject(c.env, queue.id).settle(
    acks.map((ack) => ack.lease_id),
    retries.map((retry) => ({
      leaseId: retry.lease_id,
      ...(retry.delay_seconds !== undefined && { delaySeconds: retry.delay_seconds }),
    })),
  );
  return success({
    ackCount: settled.ackCount,
    retryCount: settled.retryCount,
    warnings: settled.warnings,
  });
});

queueMessages.get("/metrics", async (c) => {
  const { queue } = await queueOf(c);
  return success(toMetrics(await queueObject(c.env, queue.id).backlog()));
});

const queueOf = (c: Context<ControlEnv>): Promise<ConsumedQueue> => requireQueue(c, CODES.noQueue);

/** The body as the schema wants it; none at all is an object without members. */
async function readBody<Schema extends z.ZodType>(
  c: Context<ControlEnv>,
  schema: Schema,
): Promise<z.output<Schema>> {
  const json = parseJson((await c.req.text()) || "{}", CODES.malformed, "body");
  return parse(schema, json, CODES.schema, "body");
}

async function send(
  c: Context<ControlEnv>,
  messages: z.output<typeof message>[],
  delaySeconds?: number,
): Promise<Response> {
  const { queue } = await queueOf(c);
  const complete = messages.map(({ body, content_type, delay_seconds }): NewMessage => {
    const delay = delay_seconds ?? delaySeconds;
    return {
      // The schema has made sure that a text is one.
      body: content_type === "json" ? JSON.stringify(body) : body,
      contentType: content_type,
      ...(delay !== undefined && { delaySeconds: delay }),
    };
  });
  try {
    const backlog = await queueObject(c.env, queue.id).send(complete, "api");
    return success({ metadata: { metrics: toMetrics(backlog) } });
  } catch (error) {
    const refused = error instanceof Error && /^(.*) \((\d{5})\)$/s.exec(error.message);
    if (!refused) throw error;
    const code = Number(refused[2]);
    throw new ApiError(STATUS[code] ?? 400, code, refused[1] ?? "");
  }
}

const toMetrics = (backlog: Backlog): Record<string, number> => ({
  backlog_count: backlog.backlogCount,
  backlog_bytes: backlog.backlogBytes,
  oldest_message_timestamp_ms: backlog.oldestMessageTimestamp ?? 0,
});

function toPulled(pulled: DeliveredMessage & { leaseId: string }): Record<string, unknown> {
  return {
    id: pulled.id,
    timestamp_ms: pulled.timestamp,
    attempts: pulled.attempts,
    lease_id: pulled.leaseId,
    metadata: { "CF-Content-Type": pulled.contentType },
    body: toText(pulled),
  };
}

/** As Cloudflare writes bodies: text as it is, all else in base64. */
function toText({ contentType, body }: DeliveredMessage): string {
  switch (contentType) {
    case "text":
      return body as string;
    case "json":
      return toBase64(new TextEncoder().encode(body as string));
    case "bytes":
      return toBase64(new Uint8Array(body as ArrayBuffer));
    case "v8":
      return toBase64(new TextEncoder().encode(toJson(body)));
  }
}

/** What JSON can say of a value that only V8 can write; nothing if it can say nothing. */
function toJson(value: unknown): string {
  try {
    return JSON.stringify(value) ?? "";
  } catch {
    return "";
  }
}
