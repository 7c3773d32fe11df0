import { DurableObject } from "cloudflare:workers";
import type { Env } from "../../env.ts";
import { log } from "../../observe/log.ts";
import { DeadLetters, toNew, TRANSFER_COUNT } from "./dead-letters.ts";
import { Delivery } from "./delivery.ts";
import { queueObject } from "./enqueue.ts";
import { checkBatch, isDelay, MAX_BACKLOG_BYTES, toStorable } from "./limits.ts";
import { MessageStore } from "./message-store.ts";
import type {
  Backlog,
  LeaseRetry,
  NewMessage,
  PulledBatch,
  PullOptions,
  Settled,
} from "./protocol.ts";
import { Setup, windowOf, type QueueSetup } from "./setup.ts";

// An alarm is set never further ahead while there are messages: should anything go wrong with what
// was under way, it is found out then.
const LOOK_EVERY_MS = 60_000;
const ALARM_RETRY_MS = 5_000;
// What is due but cannot be done at once must not make alarms fire without a pause.
const MIN_ALARM_MS = 20;

// How long something with many messages goes on before others in its process get their turn.
const SLICE_MS = 20;

/** One queue: keeps its messages and gives them to its consumer. Named by the queue's id. */
export class QueueObject extends DurableObject<Env> {
  readonly #setup: Setup;
  readonly #store: MessageStore;
  readonly #delivery: Delivery;
  readonly #deadLetters: DeadLetters;
  #alarmAt: number | undefined;
  #removing = false;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#setup = new Setup(env, ctx.id.name ?? "");
    this.#store = new MessageStore(ctx.storage);
    this.#delivery = new Delivery(env, ctx, this.#store, () => this.#lookAgain());
    this.#deadLetters = new DeadLetters(env, this.#store);
  }

  /** See `StateRole.sendMessages`. */
  async send(messages: NewMessage[]): Promise<Backlog> {
    const setup = await this.#existing();
    const now = Date.now();
    const { delivery_delay } = setup.queue.settings;
    const storable = messages.map((message) => toStorable(message, delivery_delay, now));
    checkBatch(storable);
    const bytes = storable.reduce((sum, message) => sum + message.bytes, this.#store.bytes);
    if (bytes > MAX_BACKLOG_BYTES) {
      throw new Error(`Queue backlog of ${bytes} bytes exceeds limit of ${MAX_BACKLOG_BYTES}`);
    }
    this.#store.insert(storable, now, windowOf(setup.consumer));
    const backlog = this.#store.backlog();
    this.#look(setup);
    return backlog;
  }

  /** See `StateRole.enqueue`. */
  async enqueue(messages: NewMessage[]): Promise<boolean> {
    const setup = await this.#setup.get();
    if (!setup) return false;
    const now = Date.now();
    const { delivery_delay } = setup.queue.settings;
    const storable = messages.map((message) => toStorable(message, delivery_delay, now));
    this.#store.insert(storable, now, windowOf(setup.consumer));
    this.#look(setup);
    return true;
  }

  async backlog(): Promise<Backlog> {
    return this.#store.backlog();
  }

  /** The catalog's record of the queue or of its consumer has changed. */
  async refresh(): Promise<void> {
    const setup = await this.#setup.reload();
    if (!setup) return;
    this.#store.setWindow(windowOf(setup.consumer));
    this.#deadLetters.unpark();
    this.#look(setup);
  }

  /** The next messages for a pull consumer, hidden from others for the time given. */
  async pull(options: PullOptions): Promise<PulledBatch> {
    const setup = await this.#existing();
    const { queue, consumer } = setup;
    if (consumer?.type !== "http_pull" || queue.settings.delivery_paused) {
      return { backlogCount: this.#store.count, messages: [] };
    }
    this.#look(setup);
    const now = Date.now();
    const {
      batchSize = consumer.settings.batch_size,
      visibilityTimeoutMs = consumer.settings.visibility_timeout_ms,
    } = options;
    const until = now + Math.max(visibilityTimeoutMs, 1);
    const leased = this.#store.lease(batchSize, now, until, windowOf(consumer));
    this.#schedule(setup, now);
    return {
      backlogCount: this.#store.count,
      messages: leased.map(({ id, timestamp, attempts, contentType, body, leaseId }) => ({
        id,
        timestamp,
        attempts,
        contentType,
        body,
        leaseId,
      })),
    };
  }

  /** What a pull consumer says of messages it has leased. Leases that have ended are passed over. */
  async settle(acks: string[], retries: LeaseRetry[]): Promise<Settled> {
    const setup = await this.#existing();
    const { consumer } = setup;
    const settings = consumer?.type === "http_pull" ? consumer.settings : undefined;
    const now = Date.now();
    const warnings: Settled["warnings"] = {};
    const find = (leaseId: string): { seq: number; failures: number }[] => {
      const found = this.#store.leased(leaseId, now);
      if (!found) warnings[leaseId] = "The lease has ended or was never given.";
      return found ? [found] : [];
    };
    const acked = acks.flatMap(find).map(({ seq }) => seq);
    const failed = retries.flatMap(({ leaseId, delaySeconds }) =>
      find(leaseId).map(({ seq, failures }) => {
        const delay = isDelay(delaySeconds) ? delaySeconds : (settings?.retry_delay ?? 0);
        return { seq, failures: failures + 1, visibleAt: now + delay * 1000 };
      }),
    );
    const isLast = ({ failures }: { failures: number }): boolean =>
      settings !== undefined && failures > settings.max_retries;
    const again = failed.filter((message) => !isLast(message));
    const givenUp = failed.filter(isLast).map(({ seq }) => seq);
    this.#store.settle(acked, again, givenUp, windowOf(consumer));
    this.#look(setup);
    return { ackCount: acked.length, retryCount: failed.length, warnings };
  }

  /** Drops all messages. */
  async purge(): Promise<void> {
    this.#store.purge();
    this.ctx.waitUntil(this.#removePurged());
  }

  /** Drops all messages for good: the queue is gone. */
  async destroy(): Promise<void> {
    await this.purge();
    await this.#setup.reload();
  }

  /**
   * Moves all messages to another queue, as new ones with their ids; how many. For what has been put
   * aside in a dead letter queue.
   */
  async redrive(toQueueId: string): Promise<number> {
    const { consumer } = await this.#existing();
    const window = windowOf(consumer);
    const target = queueObject(this.env, toQueueId);
    let moved = 0;
    for (;;) {
      const messages = this.#store.take(undefined, TRANSFER_COUNT, Date.now());
      if (messages.length === 0) return moved;
      const seqs = messages.map(({ seq }) => seq);
      let accepted = false;
      try {
        accepted = await target.enqueue(messages.map(toNew));
      } finally {
        if (accepted) this.#store.settle(seqs, [], [], window);
        else this.#store.putBack(seqs, Date.now(), window);
      }
      if (!accepted) throw new Error(`Queue ${toQueueId} does not exist.`);
      moved += messages.length;
    }
  }

  override async alarm(): Promise<void> {
    this.#alarmAt = undefined;
    try {
      const setup = await this.#setup.get();
      if (setup) this.#look(setup);
      else if (this.#store.count > 0) await this.purge();
    } catch (error) {
      log("error", "queue_alarm_failed", { queue: this.ctx.id.name, message: String(error) });
      // The runtime would give up after some tries.
      await this.ctx.storage.setAlarm(Date.now() + ALARM_RETRY_MS);
    }
  }

  async #existing(): Promise<QueueSetup> {
    const setup = await this.#setup.get();
    if (!setup) throw new Error("The queue does not exist.");
    return setup;
  }

  #lookAgain(): void {
    const setup = this.#setup.current;
    if (setup) this.#look(setup);
  }

  /** Does all that is due now and sees to it that what is due later will be done. */
  #look(setup: QueueSetup): void {
    const now = Date.now();
    const { consumer } = setup;
    const window = windowOf(consumer);
    if (this.#store.purging) this.ctx.waitUntil(this.#removePurged());
    this.#dropExpired(setup, now);
    this.#store.endLeases(now, consumer?.settings.max_retries ?? Infinity, window);
    this.#delivery.startReady(setup, now);
    if (this.#store.hasGivenUp) this.ctx.waitUntil(this.#deadLetters.bury(setup, window));
    this.#schedule(setup, now);
  }

  #dropExpired({ queue, consumer }: QueueSetup, now: number): void {
    const storedBefore = now - queue.settings.message_retention_period * 1000;
    const oldest = this.#store.oldestStoredAt();
    if (oldest === undefined || oldest >= storedBefore) return;
    const dropped = this.#store.expire(storedBefore, windowOf(consumer));
    log("warn", "messages_dropped", {
      account: queue.accountId,
      queue: queue.name,
      reason: "message_retention_period",
      count: dropped,
    });
  }

  #schedule(setup: QueueSetup, now: number): void {
    if (this.#store.count === 0 && !this.#store.purging) return;
    const oldest = this.#store.oldestStoredAt();
    const due = Math.min(
      now + LOOK_EVERY_MS,
      this.#delivery.nextDue(setup, now) ?? Infinity,
      this.#store.nextLeaseEnd() ?? Infinity,
      this.#deadLetters.nextDue(now) ?? Infinity,
      oldest === undefined
        ? Infinity
        : oldest + setup.queue.settings.message_retention_period * 1000 + 1,
    );
    const at = Math.max(due, now + MIN_ALARM_MS);
    // One that comes too early looks and finds out; to move it each time would cost a write.
    if (this.#alarmAt !== undefined && this.#alarmAt <= at) return;
    this.#alarmAt = at;
    void this.ctx.storage.setAlarm(at);
  }

  async #removePurged(): Promise<void> {
    if (this.#removing) return;
    this.#removing = true;
    try {
      let pausedAt = Date.now();
      while (this.#store.purging) {
        this.#store.removePurged();
        if (Date.now() - pausedAt < SLICE_MS) continue;
        await scheduler.wait(1);
        pausedAt = Date.now();
      }
    } finally {
      this.#removing = false;
    }
    this.#lookAgain();
  }
}
