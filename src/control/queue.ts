import type { Context } from "hono";
import { queueObject } from "../bindings/queue/enqueue.ts";
import { type ConsumedQueue, loadQueue } from "../catalog/queues.ts";
import { log } from "../observe/log.ts";
import type { ControlEnv } from "./app.ts";
import { ApiError } from "./error.ts";
import { accountOf } from "./script.ts";

/** Cloudflare's codes; docs/queues.md says which of them are known for sure. */
export const QUEUE_CODES = {
  malformed: 10001,
  noQueue: 11000,
  noHandler: 11001,
  noConsumer: 11003,
  consumerExists: 11004,
  boundByWorker: 11005,
  nameTaken: 11009,
  consumerSettings: 100127,
  queueSettings: 100128,
} as const;

/** The queue that the path names, and its consumer. Every path of a queue passes here. */
export async function requireQueue(c: Context<ControlEnv>): Promise<ConsumedQueue> {
  const id = c.req.param("queue_id") ?? "";
  const found = await loadQueue(c.env.CATALOG, id);
  if (found?.queue.accountId === accountOf(c)) return found;
  throw new ApiError(404, QUEUE_CODES.noQueue, `queue_id: got "${id}": there is no such queue`);
}

/**
 * Has the objects of these queues go by what the catalog says now. A change is committed to the
 * catalog first: an object reads it whenever it starts, and waking the platform starts all that
 * have something to do, so that a crash in between leaves nothing that would not mend itself.
 */
export async function refreshQueues(env: ControlEnv["Bindings"], ids: string[]): Promise<void> {
  await Promise.all(
    ids.map(async (id) => {
      try {
        await queueObject(env, id).refresh();
      } catch (error) {
        log("warn", "queue_refresh_failed", { queueId: id, message: String(error) });
      }
    }),
  );
}
