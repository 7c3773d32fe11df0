import type { Env } from "../../env.ts";
import { log } from "../../observe/log.ts";
import { stateOf } from "../../roles/contract.ts";
import { toMessage } from "./message.ts";
import type { Outbox } from "./outbox.ts";

// The alarm is for what a crash cuts short; otherwise changes leave at once.
const SAFETY_MS = 3_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;

/** Calls the function when no import and no dump goes on. */
type WhenIdle = <T>(run: () => T) => Promise<T>;

/** Brings a database's changes to the queues, each by itself, so that none waits for another. */
export class Delivery {
  readonly #ctx: DurableObjectState;
  readonly #env: Env;
  readonly #outbox: Outbox;
  readonly #whenIdle: WhenIdle;
  readonly #running = new Map<string, Promise<void>>();
  /** By queue: how often in a row it has not taken its changes. */
  readonly #failures = new Map<string, number>();
  #alarmIsSet = false;
  /** Number of the last change that it knows of. */
  #known = 0;

  constructor(ctx: DurableObjectState, env: Env, outbox: Outbox, whenIdle: WhenIdle) {
    this.#ctx = ctx;
    this.#env = env;
    this.#outbox = outbox;
    this.#whenIdle = whenIdle;
  }

  /** To be called at the end of each transaction, within it. */
  prepare(): void {
    if (this.#alarmIsSet || this.#outbox.lastSequence() === this.#known) return;
    void this.#ctx.storage.setAlarm(Date.now() + SAFETY_MS);
  }

  /** To be called after it, and only then. Queues that have failed are left to the alarm. */
  start(): void {
    const last = this.#outbox.lastSequence();
    if (last === this.#known) return;
    this.#known = last;
    this.#alarmIsSet = true;
    for (const queueId of this.#outbox.waitingQueues()) {
      if (!this.#failures.has(queueId)) this.#ctx.waitUntil(this.#serve(queueId));
    }
  }

  /** The object's alarm. Does not throw. */
  async alarm(): Promise<void> {
    this.#alarmIsSet = false;
    const queueIds = await this.#whenIdle(() => this.#outbox.waitingQueues());
    await Promise.all(queueIds.map((queueId) => this.#serve(queueId)));
    // Not within the transaction of an import, with which it could be undone.
    await this.#whenIdle(() => {
      if (this.#outbox.waitingQueues().length === 0) return;
      const failures = Math.min(...this.#failures.values());
      const pause = Math.min(FIRST_PAUSE_MS * 2 ** failures, LONGEST_PAUSE_MS);
      void this.#ctx.storage.setAlarm(Date.now() + pause);
      this.#alarmIsSet = true;
    });
  }

  #serve(queueId: string): Promise<void> {
    const running = this.#running.get(queueId) ?? this.#deliver(queueId);
    this.#running.set(queueId, running);
    return running;
  }

  async #deliver(queueId: string): Promise<void> {
    try {
      for (;;) {
        // Whoever made the changes gets an answer first, and others their turn between pages.
        await scheduler.wait(1);
        const page = await this.#whenIdle(() => this.#outbox.page(queueId));
        if (!page) break;
        const { feed, changes, last } = page;
        const messages = await Promise.all(changes.map((row) => toMessage(feed, row, queueId)));
        const state = stateOf(this.#env, this.#ctx);
        const isTaken = messages.length === 0 || (await state.enqueue(queueId, messages));
        await this.#whenIdle(() => {
          if (isTaken) this.#outbox.advance(queueId, last);
          else this.#drop(queueId, feed.databaseId);
        });
      }
      this.#failures.delete(queueId);
    } catch (error) {
      this.#failures.set(queueId, (this.#failures.get(queueId) ?? 0) + 1);
      log("warn", "database_changes_delayed", { queue: queueId, message: String(error) });
    } finally {
      this.#running.delete(queueId);
    }
  }

  #drop(queueId: string, database: string): void {
    this.#ctx.storage.transactionSync(() => this.#outbox.dropQueue(queueId));
    log("warn", "database_subscription_dropped", {
      database,
      queue: queueId,
      message: "the queue does not exist any more",
    });
  }
}
