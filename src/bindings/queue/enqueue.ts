import { recentQueue, type Queue } from "../../catalog/queues.ts";
import type { Env } from "../../env.ts";
import { forward } from "../../roles/forward.ts";
import type { MessageSource } from "./counters.ts";
import type { QueueObject } from "./object.ts";
import type { Backlog, NewMessage } from "./protocol.ts";

/** The object that keeps a queue's messages. */
export const queueObject = (env: Env, queueId: string): DurableObjectStub<QueueObject> =>
  env.QUEUES.get(env.QUEUES.idFromName(queueId));

/** See `StateRole.sendMessages`. */
export async function sendMessages(
  env: Env,
  accountId: string,
  queueName: string,
  messages: NewMessage[],
): Promise<Backlog> {
  const queue = await existing(env, accountId, queueName);
  return forward<Backlog>(queueObject(env, queue.id).send(messages, "binding"));
}

/** See `StateRole.queueBacklog`. */
export async function backlogOf(env: Env, accountId: string, queueName: string): Promise<Backlog> {
  const queue = await existing(env, accountId, queueName);
  return forward<Backlog>(queueObject(env, queue.id).backlog());
}

/** See `StateRole.enqueue`. */
export async function enqueue(
  env: Env,
  queueId: string,
  messages: NewMessage[],
  source: MessageSource,
): Promise<boolean> {
  return queueObject(env, queueId).enqueue(messages, source);
}

async function existing(env: Env, accountId: string, queueName: string): Promise<Queue> {
  const queue = await recentQueue(env.CATALOG, accountId, queueName);
  if (!queue) throw new Error(`Queue "${queueName}" does not exist.`);
  return queue;
}
