import type { ContentType, DeliveredMessage } from "./protocol.ts";

/** A message as it goes into the store. */
export interface StorableMessage {
  /** Made if missing. */
  id?: string;
  contentType: ContentType;
  body: unknown;
  bytes: number;
  /** Milliseconds since 1970, all three; `sentAt` is what the consumer sees. */
  sentAt: number;
  visibleAt: number;
  orderingKey?: string;
  /** See `NewMessage`. */
  trace?: string;
}

/** A message taken out of the store for a while. */
export interface TakenMessage extends DeliveredMessage {
  /** Its place in the queue: never used twice. */
  seq: number;
  /** How many deliveries have failed, of those before this one. */
  failures: number;
  /** How many have been cut short. */
  cuts: number;
  orderingKey: string | undefined;
}

/** What is to be looked at when deciding whether there is a batch. */
export interface Source {
  /** Undefined: the messages without an ordering key. */
  key: string | undefined;
  /** When a batch of it is ready. */
  readyAt: number;
}

/** What becomes of a message that is to be tried again. */
export interface Again {
  seq: number;
  failures: number;
  /** As it was if missing. */
  cuts?: number;
  visibleAt: number;
}

/** How long a batch is collected, as the consumer's settings say. */
export interface Window {
  batchSize: number;
  maxWaitMs: number;
}

/** When messages are visible that have waited already, for the window, too. */
export const AT_ONCE = 0;
