/** How a message's body is written: https://developers.cloudflare.com/queues/configuration/javascript-apis/ */
export type ContentType = "json" | "text" | "bytes" | "v8";

/**
 * A message's body: for `json` its JSON as text, for `text` a string, for `bytes` an ArrayBuffer, for
 * `v8` any value that can be cloned.
 */
export type Body = unknown;

/** A message to be put into a queue. */
export interface NewMessage {
  body: Body;
  contentType: ContentType;
  /** Seconds until it is delivered; the queue's own delay if missing. */
  delaySeconds?: number;
  /**
   * 32 hex digits; made if missing. A message whose id is in the queue already is not put in again, so
   * that a transfer can be repeated.
   */
  id?: string;
  /** Milliseconds since 1970; now if missing. */
  timestamp?: number;
  /**
   * Messages with the same key are delivered in the order in which they were put in: none before those
   * ahead of it have been acknowledged or given up, one batch at a time.
   */
  orderingKey?: string;
  /** The span that sends it, as `observe/traces/context.ts` writes it; missing if there is none. */
  trace?: string;
}

/** A message as it is delivered. */
export interface DeliveredMessage {
  id: string;
  /** When it was sent, in milliseconds since 1970. */
  timestamp: number;
  /** How often it has been delivered, this time included. */
  attempts: number;
  contentType: ContentType;
  body: Body;
  /** The span that has sent it, if there was one. */
  trace?: string;
}

/** What waits in a queue: stored and not acknowledged. */
export interface Backlog {
  backlogCount: number;
  backlogBytes: number;
  /** When its oldest message was sent, in milliseconds since 1970; missing if there is none. */
  oldestMessageTimestamp?: number;
}

/** What a consumer's `queue()` handler is given. */
export interface DeliveredBatch {
  queueName: string;
  messages: DeliveredMessage[];
  backlog: Backlog;
}

/** What a handler has said of its batch. Messages that are not named follow `all`. */
export interface BatchResult {
  /** Set by `ackAll` or `retryAll`, whichever was called last. */
  all?: { action: "ack" } | RetryAction;
  /** By message id; the first word counts. */
  messages: Record<string, { action: "ack" } | RetryAction>;
}
export interface RetryAction {
  action: "retry";
  delaySeconds?: number;
}

/** What a pull consumer asks for; what is missing is as the consumer's settings say. */
export interface PullOptions {
  batchSize?: number;
  visibilityTimeoutMs?: number;
}

export interface PulledBatch {
  backlogCount: number;
  messages: (DeliveredMessage & { leaseId: string })[];
}

export interface LeaseRetry {
  leaseId: string;
  delaySeconds?: number;
}

/** What has become of it. */
export interface Settled {
  ackCount: number;
  retryCount: number;
  /** By lease id: why it did not count. */
  warnings: Record<string, string>;
}

/** What an isolate holds of a queue that it sends to. */
export interface QueueMethods {
  sendMessages(messages: NewMessage[]): Promise<Backlog>;
  backlog(): Promise<Backlog>;
}
