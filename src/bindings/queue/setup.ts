import { prepareCatalog } from "../../catalog/migrate.ts";
import { loadQueue, type Consumer, type Queue } from "../../catalog/queues.ts";
import type { Env } from "../../env.ts";
import type { Window } from "./stored-message.ts";

/** What a queue's object goes by. */
export interface QueueSetup {
  queue: Queue;
  consumer: Consumer | undefined;
}

/** A queue's record in the catalog and its consumer, remembered: who changes them calls `load`. */
export class Setup {
  readonly #env: Env;
  readonly #queueId: string;
  readonly #loaded: (setup: QueueSetup) => void;
  #loading: Promise<QueueSetup | undefined> | undefined;
  /** As last loaded; undefined before that, and if the queue is gone. */
  current: QueueSetup | undefined;
  /** Milliseconds since 1970. */
  loadedAt = 0;

  /** `loaded` is called each time that it has been loaded. */
  constructor(env: Env, queueId: string, loaded: (setup: QueueSetup) => void) {
    this.#env = env;
    this.#queueId = queueId;
    this.#loaded = loaded;
  }

  /** As remembered, else as the catalog says; undefined if the queue is gone. */
  get(): QueueSetup | Promise<QueueSetup | undefined> {
    return this.current ?? this.#loading ?? this.load();
  }

  /** What the catalog says now. */
  load(): Promise<QueueSetup | undefined> {
    const loading = this.#load().finally(() => {
      if (this.#loading === loading) this.#loading = undefined;
    });
    this.#loading = loading;
    return loading;
  }

  async #load(): Promise<QueueSetup | undefined> {
    await prepareCatalog(this.#env);
    this.current = await loadQueue(this.#env.CATALOG, this.#queueId);
    this.loadedAt = Date.now();
    if (this.current) this.#loaded(this.current);
    return this.current;
  }
}

/** How long batches are collected: not at all if no worker takes them. */
export function windowOf(consumer: Consumer | undefined): Window {
  return consumer?.type === "worker"
    ? { batchSize: consumer.settings.batch_size, maxWaitMs: consumer.settings.max_wait_time_ms }
    : { batchSize: 1, maxWaitMs: 0 };
}
