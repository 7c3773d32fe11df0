import { Hono, type Context } from "hono";
import * as z from "zod";
import {
  deleteConsumer,
  insertConsumer,
  type NewConsumer,
  queuesConsumedBy,
  updateConsumer,
} from "../catalog/queue-consumers.ts";
import { type Consumer, loadQueue, type Queue } from "../catalog/queues.ts";
import { deployedHandlers } from "../catalog/deployed-handlers.ts";
import { getScript } from "../catalog/scripts.ts";
import type { ControlEnv } from "./app.ts";
import { parse, readJson } from "./body.ts";
import { success } from "./envelope.ts";
import { ApiError } from "./error.ts";
import { toConsumerRecord } from "./queue-record.ts";
import { ConsumerSettingsBody, QueueName } from "./queue-settings.ts";
import { QUEUE_CODES, refreshQueues, requireQueue } from "./queue.ts";
import { accountOf, unknownScript } from "./script.ts";

const Body = z.discriminatedUnion(
  "type",
  [
    z.object({
      type: z.literal("worker"),
      // wrangler's and the SDK's name, and the one that the API answers with.
      script_name: z.string().optional(),
      script: z.string().optional(),
      // Scripts have no other.
      environment_name: z.enum(["", "production"]).optional(),
      dead_letter_queue: z.string().nullish(),
      settings: z.unknown().optional(),
    }),
    z.object({
      type: z.literal("http_pull"),
      dead_letter_queue: z.string().nullish(),
      settings: z.unknown().optional(),
    }),
  ],
  { error: 'must be "worker" or "http_pull"' },
);

/** Who takes a queue's messages; mounted at the path of a queue. */
export const queueConsumers = new Hono<ControlEnv>();

const CONSUMER = "/consumers/:consumer_id";

queueConsumers.get("/consumers", async (c) => {
  const { queue, consumer } = await requireQueue(c);
  return success(consumer ? [toConsumerRecord(queue, consumer)] : []);
});

queueConsumers.post("/consumers", async (c) => {
  const { queue } = await requireQueue(c);
  const consumer = await readConsumer(c, queue);
  if (!(await insertConsumer(c.env.CATALOG, queue.id, consumer))) {
    throw new ApiError(
      400,
      QUEUE_CODES.consumerExists,
      `Queue '${queue.name}' already has a consumer.`,
    );
  }
  return changed(c, queue);
});

queueConsumers.get(CONSUMER, async (c) => {
  const { queue, consumer } = await requireConsumer(c);
  return success(toConsumerRecord(queue, consumer));
});

queueConsumers.put(CONSUMER, async (c) => {
  const { queue, consumer } = await requireConsumer(c);
  await updateConsumer(c.env.CATALOG, consumer.id, await readConsumer(c, queue));
  return changed(c, queue);
});

queueConsumers.delete(CONSUMER, async (c) => {
  const { queue, consumer } = await requireConsumer(c);
  await deleteConsumer(c.env.CATALOG, consumer.id);
  await refreshQueues(c.env, [queue.id]);
  return success(null);
});

async function requireConsumer(
  c: Context<ControlEnv>,
): Promise<{ queue: Queue; consumer: Consumer }> {
  const { queue, consumer } = await requireQueue(c);
  const id = c.req.param("consumer_id") ?? "";
  if (consumer?.id === id) return { queue, consumer };
  throw new ApiError(
    404,
    QUEUE_CODES.noConsumer,
    `consumer_id: got "${id}": queue '${queue.name}' has no such consumer`,
  );
}

/** The consumer that the body describes; what it does not say has its default. */
async function readConsumer(c: Context<ControlEnv>, queue: Queue): Promise<NewConsumer> {
  const body = await readJson(c, Body, QUEUE_CODES.malformed);
  const { type } = body;
  const { settings, dead_letter_queue: deadLetterQueue } = parse(
    z.object({
      settings: ConsumerSettingsBody[type],
      dead_letter_queue: QueueName.refine(
        (name) => name !== queue.name,
        "must be another queue than the one that is consumed",
      ).optional(),
    }),
    { settings: body.settings ?? {}, dead_letter_queue: body.dead_letter_queue || undefined },
    QUEUE_CODES.consumerSettings,
    "body",
  );
  const scriptId = type === "worker" ? await requireHandler(c, body) : undefined;
  return { type, scriptId, deadLetterQueue, settings: withoutNull(settings) };
}

/** The id of the script named; it must be able to take messages. */
async function requireHandler(
  c: Context<ControlEnv>,
  body: { script_name?: string | undefined; script?: string | undefined },
): Promise<string> {
  const scriptName = body.script_name ?? body.script ?? "";
  const script = await getScript(c.env.CATALOG, accountOf(c), scriptName);
  if (!script) throw unknownScript(scriptName);
  if (!(await deployedHandlers(c.env.CATALOG, script.id)).includes("queue")) {
    throw new ApiError(
      400,
      QUEUE_CODES.noHandler,
      `Queue handler is missing: the deployed version of "${scriptName}" has no queue() in its default export`,
    );
  }
  return script.id;
}

/** Throws if the script consumes a queue, of which a version without the handler would lose messages. */
export async function refuseIfConsumer(c: Context<ControlEnv>, scriptId: string): Promise<void> {
  const consumed = await queuesConsumedBy(c.env.CATALOG, scriptId);
  if (consumed.length === 0) return;
  const names = consumed.map((queue) => queue.name).join(", ");
  throw new ApiError(
    400,
    QUEUE_CODES.noHandler,
    `Queue handler is missing: the Worker consumes ${names}, so that its default export must have queue(). Or remove the consumer first, with wrangler queues consumer remove`,
  );
}

const withoutNull = (settings: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(settings).filter(([, value]) => value != null));

/** Has the queue's object go by its new consumer, which is the answer. */
async function changed(c: Context<ControlEnv>, { id }: Queue): Promise<Response> {
  await refreshQueues(c.env, [id]);
  const found = await loadQueue(c.env.CATALOG, id);
  return success(found?.consumer ? toConsumerRecord(found.queue, found.consumer) : null);
}
