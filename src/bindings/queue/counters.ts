import { countersBy } from "../../observe/metrics/counters.ts";
import type { EventOutcome } from "../../roles/events.ts";

/** What puts messages into queues. */
export type MessageSource =
  "binding" | "api" | "bucket" | "database" | "native" | "deadLetter" | "redrive";

type Settlement = "acknowledged" | "retried" | "givenUp" | "expired";

export const sentBy = countersBy<MessageSource>(
  "mayfly_queue_messages_sent_total",
  (source) => ({ source }),
  ["binding", "api", "bucket", "database", "native", "deadLetter", "redrive"],
);

export const settledAs = countersBy<Settlement>(
  "mayfly_queue_messages_settled_total",
  (outcome) => ({ outcome }),
  ["acknowledged", "retried", "givenUp", "expired"],
);

/** Batches given to workers. */
export const batchesWith = countersBy<EventOutcome["outcome"] | "cutShort">(
  "mayfly_events_total",
  (outcome) => ({ source: "queue", outcome }),
  ["ok"],
);
