import type { Context } from "hono";
import { queueObject } from "../bindings/queue/enqueue.ts";
import { type ConsumedQueue, loadQueue } from "../catalog/queues.ts";
import { log } from "../observe/log.ts";
import type { ControlEnv } from "./app.ts";
import { ApiError } from "./error.ts";
import { accountOf } from "./script.ts";

/** Cloudflare's codes; docs/queues.md says which of them are known for sure. */
export const QUEUE_CODES = {
  malformed: 10026,
  noQueue: 11000,
  noHandler: 11001,
  name: 11003,
  consumerExists: 11004,
  boundByWorker: 11005,
  noConsumer: 11006,
  nameTaken: 11009,
  eventSource: 11017,
  consumerSettings: 100127,
  queueSettings: 100128,
} as const;

/** The queue that the path names, and its consumer. Every path of a queue passes here. */
export async function requireQueue(
  c: Context<ControlEnv>,
  code: number = QUEUE_CODES.noQueue,
): Promise<ConsumedQueue> {
  const id = c.req.param("queue_id") ?? "";
  const found = await loadQueue(c.env.CATALOG, id);
  if (found?.queue.accountId === accountOf(c)) return found;
  throw noSuchQueue("queue_id", id, code);
}

export const noSuchQueue = (
  field: string,
  value: string,
  code: number = QUEUE_CODES.noQueue,
): ApiError => new ApiError(404, code, `${field}: got "${value}": Queue does not exist`);

/**
 * Tells the objects of these queues that the catalog has changed. It is committed there first: an
 * object reads it when it starts and again every few minutes, and drops its messages when it finds
 * that its queue is gone. So neither a crash in between nor a call that fails leaves anything that
 * would not mend itself, and such a call does not make the change fail.
 */
export async function refreshQueues(env: ControlEnv["Bindings"], ids: string[]): Promise<void> {
  await Promise.all(ids.map((id) => tell(id, () => queueObject(env, id).refresh())));
}

/** Tells the object of a queue that is gone; see `refreshQueues`. */
export async function destroyQueue(env: ControlEnv["Bindings"], id: string): Promise<void> {
  await tell(id, () => queueObject(env, id).destroy());
}

async function tell(queueId: string, call: () => Promise<void>): Promise<void> {
  try {
    await call();
  } catch (error) {
    log("warn", "queue_not_told", { queueId, message: String(error) });
  }
}
