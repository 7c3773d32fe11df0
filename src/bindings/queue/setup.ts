import { prepareCatalog } from "../../catalog/migrate.ts";
import { loadQueue, type Consumer, type Queue } from "../../catalog/queues.ts";
import type { Env } from "../../env.ts";
import type { Window } from "./message-store.ts";

/** What a queue's object goes by. */
export interface QueueSetup {
  queue: Queue;
  consumer: Consumer | undefined;
}

// Who changes the catalog says so; should that be lost, it is found out so long after.
const MAX_AGE_MS = 5 * 60_000;

/** A queue's record in the catalog and its consumer, remembered. */
export class Setup {
  readonly #env: Env;
  readonly #queueId: string;
  #loading: Promise<QueueSetup | undefined> | undefined;
  #loadedAt = 0;
  /** As it was when last loaded; undefined before that, and if the queue is gone. */
  current: QueueSetup | undefined;

  constructor(env: Env, queueId: string) {
    this.#env = env;
    this.#queueId = queueId;
  }

  /** As remembered, or loaded now. */
  get(): QueueSetup | undefined | Promise<QueueSetup | undefined> {
    const fresh = Date.now() - this.#loadedAt < MAX_AGE_MS;
    return this.current && fresh ? this.current : (this.#loading ?? this.reload());
  }

  /** Loads what the catalog says now. */
  reload(): Promise<QueueSetup | undefined> {
    const loading = this.#load().finally(() => {
      if (this.#loading === loading) this.#loading = undefined;
    });
    this.#loading = loading;
    return loading;
  }

  async #load(): Promise<QueueSetup | undefined> {
    await prepareCatalog(this.#env);
    this.current = await loadQueue(this.#env.CATALOG, this.#queueId);
    this.#loadedAt = Date.now();
    return this.current;
  }
}

/** How long batches are collected: not at all if no worker takes them. */
export function windowOf(consumer: Consumer | undefined): Window {
  return consumer?.type === "worker"
    ? { batchSize: consumer.settings.batch_size, maxWaitMs: consumer.settings.max_wait_time_ms }
    : { batchSize: 1, maxWaitMs: 0 };
}
