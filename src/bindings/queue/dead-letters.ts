import { findQueue } from "../../catalog/queues.ts";
import type { Env } from "../../env.ts";
import { log } from "../../observe/log.ts";
import { queueObject } from "./enqueue.ts";
import type { MessageStore } from "./message-store.ts";
import type { NewMessage } from "./protocol.ts";
import { windowOf, type QueueSetup } from "./setup.ts";
import type { TakenMessage } from "./stored-message.ts";

/** Messages sent to another queue in one call: with the largest bodies less than half of what one may have. */
export const TRANSFER_COUNT = 100;

/** How often is looked whether a dead letter queue that was missing is there now. */
export const PARKED_MS = 60_000;

/** Takes care of the messages that a queue has given up. */
export class DeadLetters {
  readonly #env: Env;
  readonly #store: MessageStore;
  #running: Promise<void> | undefined;
  // The dead letter queue that has been reported to be missing.
  #missing: string | undefined;
  #parkedUntil = 0;

  constructor(env: Env, store: MessageStore) {
    this.#env = env;
    this.#store = store;
  }

  /** When to look at them again, if there are any. */
  nextDue(now: number): number {
    return this.#running ? now + PARKED_MS : Math.max(now, this.#parkedUntil);
  }

  /** Looks at once, even if it has been looked just now. */
  unpark(): void {
    this.#parkedUntil = 0;
  }

  /**
   * Moves the messages to the dead letter queue, or drops them if the consumer has none. While the queue
   * does not exist they stay.
   */
  bury(setup: QueueSetup): Promise<void> {
    if (Date.now() < this.#parkedUntil) return Promise.resolve();
    this.#running ??= this.#bury(setup)
      .catch((error: unknown) => {
        this.#parkedUntil = Date.now() + PARKED_MS;
        log("error", "dead_letters_delayed", { queue: setup.queue.name, message: String(error) });
      })
      .finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #bury({ queue, consumer }: QueueSetup): Promise<void> {
    for (;;) {
      const messages = this.#store.givenUp(TRANSFER_COUNT);
      if (messages.length === 0) return;
      if (!consumer) {
        // A consumer that is changed may be taken away and made anew: until then nobody knows where to.
        this.#parkedUntil = Date.now() + PARKED_MS;
        return;
      }
      const target = consumer.deadLetterQueue;
      if (target === undefined) {
        log("warn", "messages_dropped", {
          account: queue.accountId,
          queue: queue.name,
          reason: "retries exhausted, no dead letter queue",
          ids: messages.map(({ id }) => id),
        });
      } else if (!(await this.#send(queue.accountId, queue.id, target, messages))) {
        if (this.#missing !== target) {
          this.#missing = target;
          log("warn", "dead_letter_queue_missing", {
            account: queue.accountId,
            queue: queue.name,
            dead_letter_queue: target,
          });
        }
        this.#parkedUntil = Date.now() + PARKED_MS;
        return;
      }
      this.#missing = undefined;
      const seqs = messages.map(({ seq }) => seq);
      this.#store.settle(seqs, [], [], windowOf(consumer));
    }
  }

  async #send(
    accountId: string,
    ownId: string,
    name: string,
    messages: TakenMessage[],
  ): Promise<boolean> {
    const target = await findQueue(this.#env.CATALOG, accountId, name);
    // Into itself it would only be found to be there.
    if (!target || target.id === ownId) return false;
    return queueObject(this.#env, target.id).enqueue(messages.map(toNew), "deadLetter");
  }
}

/** The message as it is put into another queue. */
export function toNew(message: TakenMessage): NewMessage {
  const { id, timestamp, contentType, body, orderingKey, trace } = message;
  return {
    id,
    timestamp,
    contentType,
    body,
    ...(orderingKey !== undefined && { orderingKey }),
    ...(trace !== undefined && { trace }),
  };
}
