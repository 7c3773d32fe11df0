/** What state and executors say to each other about events other than requests. */
import type { BatchResult, DeliveredBatch } from "../bindings/queue/protocol.ts";
import type { Outcome } from "../pipeline/record.ts";

/** A cron slot that is due. */
export interface ScheduledEvent {
  cron: string;
  /** The slot, in milliseconds since 1970. */
  scheduledTime: number;
}

/** What a handler threw. */
export interface HandlerError {
  name: string;
  message: string;
  stack?: string;
}

/** How a handler ended, as its isolate tells. */
export interface HandlerReport {
  /** Set if it threw. */
  error?: HandlerError;
}
export interface QueueReport extends HandlerReport {
  result: BatchResult;
}

/**
 * How an event ended. `busy`: it was not given to the worker, for lack of capacity or of a budget; it is to be tried
 * again and counts for nothing. A call that rejects was cut short by the end of the executor.
 */
export interface EventOutcome {
  outcome: Outcome | "busy";
  /** If it is `busy` for lack of a budget: when there may be some again, in milliseconds since 1970. */
  busyUntil?: number;
  /** What the handler threw, in one line. */
  error?: string;
  wallTimeMs: number;
}
export interface QueueOutcome extends EventOutcome {
  /** Missing if the handler did not come to its end. */
  result?: BatchResult;
}

/** The prelude's entrypoint for events, in every isolate. */
export interface EventHandlers {
  handleQueue(batch: DeliveredBatch): Promise<QueueReport>;
  handleScheduled(event: ScheduledEvent, noRetry: () => Promise<void>): Promise<HandlerReport>;
  /** Each is a `TraceData` as JSON. */
  handleTail(items: string[]): Promise<HandlerReport>;
}
