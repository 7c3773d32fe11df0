import type { Producer } from "../catalog/queue-producers.ts";
import type { ConsumedQueue, Consumer, Queue } from "../catalog/queues.ts";

/** The API's shape of a queue. */
export function toQueueRecord(
  { queue, consumer }: ConsumedQueue,
  producers: Producer[],
): Record<string, unknown> {
  const consumers = consumer ? [toConsumerRecord(queue, consumer)] : [];
  return {
    queue_id: queue.id,
    queue_name: queue.name,
    created_on: queue.createdAt,
    modified_on: queue.modifiedAt,
    settings: queue.settings,
    producers,
    producers_total_count: producers.length,
    consumers,
    consumers_total_count: consumers.length,
  };
}

/** The API's shape of a consumer. A worker's name is where wrangler and where Cloudflare's SDK look. */
export function toConsumerRecord(queue: Queue, consumer: Consumer): Record<string, unknown> {
  const { id, type, settings, deadLetterQueue, createdAt } = consumer;
  return {
    consumer_id: id,
    created_on: createdAt,
    queue_id: queue.id,
    queue_name: queue.name,
    type,
    ...(type === "worker" && { script: consumer.scriptName, script_name: consumer.scriptName }),
    ...(deadLetterQueue !== undefined && { dead_letter_queue: deadLetterQueue }),
    settings,
  };
}
