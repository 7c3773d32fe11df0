import { Hono, type Context } from "hono";
import * as z from "zod";
import { queueObject } from "../bindings/queue/enqueue.ts";
import { queuesWithDeadLetterQueue } from "../catalog/queue-consumers.ts";
import { listProducers, listSubscribedDatabases } from "../catalog/queue-producers.ts";
import {
  type ConsumedQueue,
  createQueue,
  deleteQueue,
  findQueue,
  getPurgedAt,
  listQueues,
  type Queue,
  type QueueSettings,
  setPurgedAt,
  updateQueue,
} from "../catalog/queues.ts";
import type { ControlEnv } from "./app.ts";
import { parse, readJson } from "./body.ts";
import { paged, success } from "./envelope.ts";
import { ApiError, invalid } from "./error.ts";
import { queueConsumers } from "./queue-consumers.ts";
import { queueMessages } from "./queue-messages.ts";
import { toQueueRecord } from "./queue-record.ts";
import { QueueName, QueueSettingsBody } from "./queue-settings.ts";
import { destroyQueue, noSuchQueue, QUEUE_CODES, refreshQueues, requireQueue } from "./queue.ts";
import { accountOf } from "./script.ts";

const DEFAULT_PER_PAGE = 100;

const DEFAULTS: QueueSettings = {
  delivery_delay: 0,
  message_retention_period: 345_600,
  delivery_paused: false,
};

// The name and the settings have codes of their own.
const CreateBody = z.object({
  queue_name: z.string(),
  settings: z.unknown().optional(),
  jurisdiction: z
    .undefined("not supported by Mayfly: data stays where the platform runs, wherever that is")
    .optional(),
});
const UpdateBody = z.object({
  queue_name: z.string().optional(),
  settings: z.unknown().optional(),
});

const PurgeBody = z.object({
  delete_messages_permanently: z.literal(true, "must be true: messages are deleted for good"),
});
const RedriveBody = z.strictObject({ queue_name: z.string() });

/** Queues: https://developers.cloudflare.com/api/resources/queues/ */
export const queues = new Hono<ControlEnv>();

const QUEUE = "/queues/:queue_id";

queues.get("/queues", async (c) => {
  const names = c.req.queries("name") ?? [];
  const [all, producers] = await Promise.all([
    listQueues(c.env.CATALOG, accountOf(c), names),
    listProducers(c.env.CATALOG, accountOf(c)),
  ]);
  const [rows, info] = paged(all, (field) => c.req.query(field), DEFAULT_PER_PAGE);
  return success(
    rows.map((row) => toQueueRecord(row, producers.get(row.queue.name) ?? [])),
    info,
  );
});

queues.post("/queues", async (c) => {
  const body = await readJson(c, CreateBody, QUEUE_CODES.malformed);
  const { queue_name } = body;
  parse(z.object({ queue_name: QueueName }), { queue_name }, QUEUE_CODES.name, "body");
  const settings = { ...DEFAULTS, ...parseSettings(body.settings) };
  const queue = await createQueue(c.env.CATALOG, accountOf(c), queue_name, settings);
  if (!queue) {
    throw new ApiError(
      409,
      QUEUE_CODES.nameTaken,
      `Queue name '${queue_name}' is already taken. Please use a different name and try again.`,
    );
  }
  await refreshSourcesOf(c, queue.name);
  return success(await toRecord(c, { queue, consumer: undefined }));
});

queues.get(QUEUE, async (c) => success(await toRecord(c, await requireQueue(c))));

// As on Cloudflare PUT sets what is not given back to its default, PATCH leaves it.
queues.put(QUEUE, (c) => update(c, DEFAULTS));
queues.patch(QUEUE, (c) => update(c, {}));

queues.delete(QUEUE, async (c) => {
  const { queue } = await requireQueue(c);
  await refuseIfInUse(c, queue);
  // In this order nobody can send any more once messages are dropped.
  await deleteQueue(c.env.CATALOG, queue);
  await destroyQueue(c.env, queue.id);
  await refreshSourcesOf(c, queue.name);
  return success(null);
});

queues.post(`${QUEUE}/purge`, async (c) => {
  const { queue } = await requireQueue(c);
  await readJson(c, PurgeBody, QUEUE_CODES.malformed);
  const startedAt = new Date().toISOString();
  await queueObject(c.env, queue.id).purge();
  await setPurgedAt(c.env.CATALOG, queue.id, startedAt);
  return success(await toRecord(c, await requireQueue(c)));
});

queues.get(`${QUEUE}/purge`, async (c) => {
  const { queue } = await requireQueue(c);
  const startedAt = await getPurgedAt(c.env.CATALOG, queue.id);
  // A purge is over when its request is answered.
  return success(startedAt === null ? {} : { started_at: startedAt, completed: "true" });
});

// Mayfly's own: what was put aside in a dead letter queue goes back to where it came from.
queues.post("/mayfly/queues/:queue_id/redrive", async (c) => {
  const { queue } = await requireQueue(c);
  const { queue_name } = await readJson(c, RedriveBody, QUEUE_CODES.malformed);
  const target = await findQueue(c.env.CATALOG, queue.accountId, queue_name);
  if (!target) throw noSuchQueue("queue_name", queue_name);
  if (target.id === queue.id) {
    throw invalid(QUEUE_CODES.malformed, "queue_name", queue_name, "another queue");
  }
  return success({ moved: await queueObject(c.env, queue.id).redrive(target.id) });
});

queues.route(QUEUE, queueConsumers);
queues.route(QUEUE, queueMessages);

/** As on Cloudflare, a queue that something sends to cannot be deleted. */
async function refuseIfInUse(c: Context<ControlEnv>, queue: Queue): Promise<void> {
  const producers = (await listProducers(c.env.CATALOG, queue.accountId)).get(queue.name) ?? [];
  const scripts = producers.flatMap((by) => (by.type === "worker" ? [by.script] : []));
  if (scripts.length > 0) {
    throw new ApiError(
      400,
      QUEUE_CODES.boundByWorker,
      `Queue '${queue.name}' is bound by ${scripts.join(", ")}. Deploy without the binding first, or delete the Worker`,
    );
  }
  const buckets = producers.flatMap((by) => (by.type === "r2_bucket" ? [by.bucket_name] : []));
  const databases = await listSubscribedDatabases(c.env.CATALOG, queue.id);
  if (buckets.length + databases.length > 0) {
    throw new ApiError(
      400,
      QUEUE_CODES.eventSource,
      `Queue '${queue.name}' gets events of ${[...buckets, ...databases].join(", ")}. Remove the notifications and subscriptions first`,
    );
  }
}

async function update(c: Context<ControlEnv>, base: Partial<QueueSettings>): Promise<Response> {
  const { queue } = await requireQueue(c);
  const { queue_name, settings } = await readJson(c, UpdateBody, QUEUE_CODES.malformed);
  if (queue_name !== undefined && queue_name !== queue.name) {
    throw new ApiError(
      400,
      QUEUE_CODES.queueSettings,
      `queue_name: got "${queue_name}", must be "${queue.name}": Mayfly's queues keep their names, which bindings refer to`,
    );
  }
  await updateQueue(c.env.CATALOG, queue, { ...base, ...parseSettings(settings) });
  await refreshQueues(c.env, [queue.id]);
  return success(await toRecord(c, await requireQueue(c)));
}

/** The settings given. */
function parseSettings(settings: unknown): Partial<QueueSettings> {
  const schema = z.object({ settings: QueueSettingsBody });
  const body = { settings: settings ?? {} };
  return parse(schema, body, QUEUE_CODES.queueSettings, "body").settings;
}

/** Queues whose consumer names this one as its dead letter queue look it up again. */
async function refreshSourcesOf(c: Context<ControlEnv>, queueName: string): Promise<void> {
  const ids = await queuesWithDeadLetterQueue(c.env.CATALOG, accountOf(c), queueName);
  await refreshQueues(c.env, ids);
}

async function toRecord(
  c: Context<ControlEnv>,
  found: ConsumedQueue,
): Promise<Record<string, unknown>> {
  const { accountId, name: queueName } = found.queue;
  const producers = await listProducers(c.env.CATALOG, accountId);
  return toQueueRecord(found, producers.get(queueName) ?? []);
}
