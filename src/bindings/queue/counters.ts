import { countersBy } from "../../observe/metrics/counters.ts";
import type { EventOutcome } from "../../roles/events.ts";

/** What puts messages into queues. */
export type MessageSource =
  "binding" | "api" | "bucket" | "database" | "native" | "deadLetter" | "redrive";

export const sentBy = countersBy("mayfly_queue_messages_sent_total", (source: MessageSource) => ({
  source,
}));

export const settledAs = countersBy(
  "mayfly_queue_messages_settled_total",
  (outcome: "acknowledged" | "retried" | "givenUp" | "expired") => ({ outcome }),
);

/** Batches given to workers. */
export const batchesWith = countersBy(
  "mayfly_events_total",
  (outcome: EventOutcome["outcome"] | "cutShort") => ({ source: "queue", outcome }),
);
