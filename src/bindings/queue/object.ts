import { DurableObject } from "cloudflare:workers";
import type { Env } from "../../env.ts";
import type {
  Backlog,
  LeaseRetry,
  NewMessage,
  PulledBatch,
  PullOptions,
  Settled,
} from "./protocol.ts";

/** One queue: keeps its messages and gives them to its consumer. */
export class QueueObject extends DurableObject<Env> {
  /** See `StateRole.sendMessages`. */
  async send(_messages: NewMessage[]): Promise<Backlog> {
    throw new Error("not built");
  }

  /** See `StateRole.enqueue`. */
  async enqueue(_messages: NewMessage[]): Promise<boolean> {
    throw new Error("not built");
  }

  async backlog(): Promise<Backlog> {
    throw new Error("not built");
  }

  /** The catalog's record of the queue or of its consumer has changed. */
  async refresh(): Promise<void> {
    throw new Error("not built");
  }

  /** The next messages for a pull consumer, hidden from others for the time given. */
  async pull(_options: PullOptions): Promise<PulledBatch> {
    throw new Error("not built");
  }

  /** What a pull consumer says of messages it has leased. Leases that have ended are passed over. */
  async settle(_acks: string[], _retries: LeaseRetry[]): Promise<Settled> {
    throw new Error("not built");
  }

  /** Drops all messages. */
  async purge(): Promise<void> {
    throw new Error("not built");
  }

  /** Drops all messages for good: the queue is gone. */
  async destroy(): Promise<void> {
    throw new Error("not built");
  }

  /**
   * Moves all messages to another queue, as new ones with their ids; how many. For what has been put
   * aside in a dead letter queue.
   */
  async redrive(_toQueueId: string): Promise<number> {
    throw new Error("not built");
  }
}
