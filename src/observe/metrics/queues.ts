import { queueObject } from "../../bindings/queue/enqueue.ts";
import type { Backlog } from "../../bindings/queue/protocol.ts";
import { listOldestQueues, type Queue } from "../../catalog/queues.ts";
import type { Env } from "../../env.ts";
import { receive } from "../../roles/forward.ts";
import { log } from "../log.ts";
import { backlogs } from "./backlogs.ts";
import { addValue, toText, type Labels, type SeriesValues } from "./series.ts";

/**
 * The backlogs of the account's queues, or of all. The oldest queues have series of their own, so many of
 * them; the others are one together.
 */
export async function queueSeries(
  env: Env,
  accountId: string | undefined,
  maxQueues: number,
  nameOf: (accountId: string) => string,
): Promise<SeriesValues> {
  const queues = await listOldestQueues(env.CATALOG, maxQueues);
  const series: SeriesValues = {};
  await Promise.all(
    queues.map(async (queue) => {
      if (accountId !== undefined && accountId !== queue.accountId) return;
      const backlog = backlogs.get(queue.id) ?? (await ask(env, queue));
      if (!backlog) return;
      addBacklogs(series, { account: nameOf(queue.accountId), queue: queue.name }, [backlog]);
    }),
  );
  if (accountId !== undefined) return series;
  const own = new Set(queues.map(({ id }) => id));
  const others = [...backlogs].filter(([id]) => !own.has(id)).map(([, backlog]) => backlog);
  if (others.length > 0) addBacklogs(series, { queue: "other" }, others);
  return series;
}

/** Its object may not have been at work yet, or does so elsewhere. */
async function ask(
  env: Env,
  { id, name }: Pick<Queue, "id" | "name">,
): Promise<Backlog | undefined> {
  try {
    return await receive<Backlog>(queueObject(env, id).backlog());
  } catch (error) {
    log("warn", "backlog_unknown", { queue: name, message: String(error) });
    return undefined;
  }
}

function addBacklogs(series: SeriesValues, labels: Labels, backlogs: Backlog[]): void {
  const now = Date.now();
  const text = toText(labels);
  const ages = backlogs.map(({ oldestMessageTimestamp = now }) => now - oldestMessageTimestamp);
  for (const { backlogCount, backlogBytes } of backlogs) {
    addValue(series, "mayfly_queue_backlog_messages", text, backlogCount);
    addValue(series, "mayfly_queue_backlog_bytes", text, backlogBytes);
  }
  const ageMs = Math.max(0, ...ages);
  addValue(series, "mayfly_queue_oldest_message_age_seconds", text, ageMs / 1000);
}
