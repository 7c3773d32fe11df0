import { DurableObject } from "cloudflare:workers";
import type { Env } from "../../env.ts";
import { log } from "../../observe/log.ts";
import { keepBacklog } from "../../observe/metrics/backlogs.ts";
import { sentBy, settledAs, type MessageSource } from "./counters.ts";
import { DeadLetters, toNew, TRANSFER_COUNT } from "./dead-letters.ts";
import { Delivery } from "./delivery.ts";
import { queueObject } from "./enqueue.ts";
import { checkBatch, toStorable, visibleAfter } from "./limits.ts";
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
import type { StorableMessage } from "./stored-message.ts";

// While there are messages an alarm is set, never further ahead: should this object be ended, its
// successor goes on then. Sooner if it has work under way that would be cut short.
const LOOK_EVERY_MS = { idle: 60_000, delivering: 5_000 };
const ALARM_RETRY_MS = 5_000;
// What is due but cannot be done at once must not make alarms fire without a pause.
const MIN_ALARM_MS = 20;
// Who changes the catalog says so; should that be lost, it is found out so long after.
const SETUP_MAX_AGE_MS = 5 * 60_000;
// Messages are dropped so long after their time, at the most, while others come and go.
const EXPIRY_EVERY_MS = 1_000;
// How long something with many messages goes on before others in its process get their turn.
const SLICE_MS = 20;

/**
 * One queue: keeps its messages and gives them to its consumer. Named by the queue's id.
 *
 * Whatever happens ends in `#look`, which does all that is due and sets the alarm for what is not: so
 * nothing depends on memory, and a new object goes on where its predecessor was ended.
 */
export class QueueObject extends DurableObject<Env> {
  readonly #setup: Setup;
  readonly #store: MessageStore;
  readonly #delivery: Delivery;
  readonly #deadLetters: DeadLetters;
  #alarmAt: number | undefined;
  #expiredAt = 0;
  #removing: Promise<void> | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#store = new MessageStore(ctx.storage);
    this.#setup = new Setup(env, ctx.id.name ?? "", ({ consumer }) =>
      this.#store.setWindow(windowOf(consumer)),
    );
    this.#delivery = new Delivery(env, ctx, this.#store, () => this.#look());
    this.#deadLetters = new DeadLetters(env, this.#store);
  }

  /** See `StateRole.sendMessages`. */
  async send(messages: NewMessage[], source: MessageSource): Promise<Backlog> {
    const setup = await this.#existing();
    this.#insert(setup, messages, source, (storable) => checkBatch(storable, this.#store.bytes));
    return this.#store.backlog();
  }

  /** See `StateRole.enqueue`. */
  async enqueue(messages: NewMessage[], source: MessageSource): Promise<boolean> {
    const setup = await this.#setup.get();
    if (setup) this.#insert(setup, messages, source);
    return setup !== undefined;
  }

  async backlog(): Promise<Backlog> {
    await this.#existing();
    return this.#keepBacklog();
  }

  /** The catalog's record of the queue or of its consumer has changed. */
  async refresh(): Promise<void> {
    await this.#setup.load();
    this.#deadLetters.unpark();
    this.#look();
  }

  /** The next messages for a pull consumer, hidden from others for the time given. */
  async pull(options: PullOptions): Promise<PulledBatch> {
    const { queue, consumer } = await this.#existing();
    if (consumer?.type !== "http_pull" || queue.settings.delivery_paused) {
      return { backlogCount: this.#store.count, messages: [] };
    }
    // Messages that are over their time or their retries are not for anyone to pull.
    this.#look();
    const {
      batchSize = consumer.settings.batch_size,
      visibilityTimeoutMs = consumer.settings.visibility_timeout_ms,
    } = options;
    const now = Date.now();
    const until = now + Math.max(visibilityTimeoutMs, 1);
    const messages = this.#store.lease(batchSize, now, until, windowOf(consumer));
    this.#look();
    return {
      backlogCount: this.#store.count,
      messages: messages.map(({ id, timestamp, attempts, contentType, body, leaseId }) => {
        return { id, timestamp, attempts, contentType, body, leaseId };
      }),
    };
  }

  /** What a pull consumer says of messages it has leased. Leases that have ended are passed over. */
  async settle(acks: string[], retries: LeaseRetry[]): Promise<Settled> {
    const { consumer } = await this.#existing();
    const { max_retries = Infinity, retry_delay = 0 } = consumer?.settings ?? {};
    const now = Date.now();
    const warnings: Settled["warnings"] = {};
    const find = (leaseId: string): { seq: number; failures: number }[] => {
      const found = this.#store.leased(leaseId, now);
      if (!found) warnings[leaseId] = "The lease has ended, or was never given.";
      return found ? [found] : [];
    };
    const acked = acks.flatMap(find);
    const failed = retries.flatMap(({ leaseId, delaySeconds = retry_delay }) =>
      find(leaseId).map(({ seq, failures }) => {
        return { seq, failures: failures + 1, visibleAt: visibleAfter(now, delaySeconds) };
      }),
    );
    const again = failed.filter(({ failures }) => failures <= max_retries);
    const givenUp = failed.filter(({ failures }) => failures > max_retries);
    this.#store.settle(
      acked.map(({ seq }) => seq),
      again,
      givenUp.map(({ seq }) => seq),
      windowOf(consumer),
    );
    settledAs("acknowledged").value += acked.length;
    settledAs("retried").value += again.length;
    settledAs("givenUp").value += givenUp.length;
    this.#look();
    return { ackCount: acked.length, retryCount: failed.length, warnings };
  }

  /** Drops all messages. */
  async purge(): Promise<void> {
    await this.#existing();
    this.#store.purge();
    this.#look();
  }

  /** Drops all messages for good: the queue is gone. */
  async destroy(): Promise<void> {
    this.#setup.current = undefined;
    this.#store.close();
    keepBacklog(this.ctx.id.name ?? "", undefined);
    await this.ctx.storage.deleteAll();
  }

  /**
   * Moves all messages that nobody has at the moment to another queue, as new ones with their ids; how
   * many. For what has been put aside in a dead letter queue.
   */
  async redrive(toQueueId: string): Promise<number> {
    const { queue, consumer } = await this.#existing();
    if (toQueueId === queue.id) throw new Error(`Queue ${toQueueId} cannot be moved to itself.`);
    const window = windowOf(consumer);
    const last = this.#store.lastSeq;
    let moved = 0;
    for (let at = 0; at < last;) {
      const messages = this.#store.takeAny(at, TRANSFER_COUNT, window);
      if (messages.length === 0) break;
      at = messages.at(-1)?.seq ?? last;
      const seqs = messages.map(({ seq }) => seq);
      let accepted = false;
      try {
        accepted = await queueObject(this.env, toQueueId).enqueue(messages.map(toNew), "redrive");
      } finally {
        if (accepted) this.#store.settle(seqs, [], [], window);
        else this.#store.putBack(seqs, window);
      }
      if (!accepted) throw new Error(`Queue ${toQueueId} does not exist.`);
      moved += messages.length;
    }
    this.#look();
    return moved;
  }

  override async alarm(): Promise<void> {
    this.#alarmAt = undefined;
    try {
      if (Date.now() - this.#setup.loadedAt > SETUP_MAX_AGE_MS) await this.#setup.load();
      if (this.#setup.current) this.#look();
      else await this.destroy();
    } catch (error) {
      log("error", "queue_alarm_failed", { queue: this.ctx.id.name, message: String(error) });
      // The runtime would give up after some tries.
      await this.ctx.storage.setAlarm(Date.now() + ALARM_RETRY_MS);
    }
  }

  async #existing(): Promise<QueueSetup> {
    const setup = await this.#setup.get();
    if (!setup) throw new Error(`Queue ${this.ctx.id.name} does not exist.`);
    return setup;
  }

  #insert(
    { queue, consumer }: QueueSetup,
    messages: NewMessage[],
    source: MessageSource,
    check?: (messages: StorableMessage[]) => void,
  ): void {
    const now = Date.now();
    const { delivery_delay } = queue.settings;
    const storable = messages.map((message) => toStorable(message, delivery_delay, now));
    check?.(storable);
    const before = this.#store.count;
    this.#store.insert(storable, now, windowOf(consumer));
    sentBy(source).value += this.#store.count - before;
    this.#look();
  }

  /** Does all that is due now and sees to it that what is due later will be done. */
  #look(): void {
    const setup = this.#setup.current;
    if (!setup) return;
    const now = Date.now();
    const { consumer } = setup;
    if (this.#store.purging) this.ctx.waitUntil(this.#removePurged());
    this.#dropExpired(setup, now);
    this.#store.endLeases(now, consumer?.settings.max_retries ?? Infinity, windowOf(consumer));
    const deliverAt = this.#delivery.startReady(setup, now);
    const hasGivenUp = this.#store.hasGivenUp;
    if (hasGivenUp) {
      this.ctx.waitUntil(this.#deadLetters.bury(setup).then(() => this.#keepBacklog()));
    }
    this.#keepBacklog();
    this.#schedule(setup, now, deliverAt, hasGivenUp ? this.#deadLetters.nextDue(now) : undefined);
  }

  /** For the metrics. */
  #keepBacklog(): Backlog {
    const backlog = this.#store.backlog();
    keepBacklog(this.ctx.id.name ?? "", backlog);
    return backlog;
  }

  #dropExpired({ queue, consumer }: QueueSetup, now: number): void {
    if (now - this.#expiredAt < EXPIRY_EVERY_MS) return;
    this.#expiredAt = now;
    const storedBefore = now - queue.settings.message_retention_period * 1000;
    const count = this.#store.expire(storedBefore, windowOf(consumer));
    if (count === 0) return;
    settledAs("expired").value += count;
    // There may be more.
    this.#expiredAt = 0;
    const reason = "message_retention_period is over";
    log("warn", "messages_dropped", {
      account: queue.accountId,
      queue: queue.name,
      reason,
      count,
    });
  }

  #schedule({ queue }: QueueSetup, now: number, ...times: (number | undefined)[]): void {
    if (this.#store.count === 0 && !this.#store.purging) return;
    // One that comes too early looks and finds out; to move it each time would cost a write.
    if (this.#alarmAt !== undefined && this.#alarmAt <= now + MIN_ALARM_MS) return;
    const retentionMs = queue.settings.message_retention_period * 1000;
    const due = Math.min(
      now + LOOK_EVERY_MS[this.#delivery.isDelivering ? "delivering" : "idle"],
      this.#store.nextLeaseEnd() ?? Infinity,
      ...times.map((time) => time ?? Infinity),
      Math.max(
        (this.#store.oldestStoredAt() ?? now) + retentionMs + 1,
        this.#expiredAt + EXPIRY_EVERY_MS,
      ),
    );
    const at = Math.max(due, now + MIN_ALARM_MS);
    if (this.#alarmAt !== undefined && this.#alarmAt <= at) return;
    this.#alarmAt = at;
    void this.ctx.storage.setAlarm(at);
  }

  #removePurged(): Promise<void> {
    this.#removing ??= this.#removeAll().finally(() => {
      this.#removing = undefined;
      this.#look();
    });
    return this.#removing;
  }

  async #removeAll(): Promise<void> {
    let pausedAt = Date.now();
    while (this.#store.purging) {
      this.#store.removePurged();
      if (Date.now() - pausedAt < SLICE_MS) continue;
      await scheduler.wait(1);
      pausedAt = Date.now();
    }
  }
}
