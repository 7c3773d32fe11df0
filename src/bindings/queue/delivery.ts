import type { WorkerConsumer } from "../../catalog/queues.ts";
import type { Env } from "../../env.ts";
import { log } from "../../observe/log.ts";
import { executorOf } from "../../roles/contract.ts";
import type { QueueOutcome } from "../../roles/events.ts";
import { receive } from "../../roles/forward.ts";
import { batchesWith, settledAs } from "./counters.ts";
import { busyPauseMs } from "../../triggers/busy-pause.ts";
import { visibleAfter } from "./limits.ts";
import type { MessageStore } from "./message-store.ts";
import type { BatchResult, DeliveredMessage, RetryAction } from "./protocol.ts";
import { windowOf, type QueueSetup } from "./setup.ts";
import { AT_ONCE, type Again, type TakenMessage } from "./stored-message.ts";

// Batches at once of a consumer without `max_concurrency`. Cloudflare goes up to 250 on many machines;
// here all run on one, and a batch more than it has use for only takes memory from others.
const MAX_GROWN_CONCURRENCY = 20;

// How long a queue waits that could not deliver: always so long if the executor is away, each time twice as
// long if the executor ended or the script is missing.
const AWAY_PAUSE_MS = 1_000;
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 30_000;

// A consumer that gets nothing done has one batch at a time, and waits a little longer after each, lest
// its failures take the machine's time from others.
const MAX_FRUITLESS_PAUSE_MS = 100;

// That a delivery was cut short, by whatever ended the executor, is not held against its messages. But
// one that was cut short more often than this ends its executors itself: then all of them count.
const MAX_CUTS = 5;

type Fate = Omit<Again, "seq">;

/** Gives batches of a queue to its worker. */
export class Delivery {
  readonly #env: Env;
  readonly #ctx: DurableObjectState;
  readonly #store: MessageStore;
  readonly #settled: () => void;
  #batches = 0;
  #messagesOut = 0;
  #pausedUntil = 0;
  #pauses = 0;
  // Set after a call has failed, until the executor answers again: what it has not been given must not
  // count as cut short.
  #unreachable = false;
  #asking = false;
  // Batches since the last one of which anything was acknowledged.
  #fruitless = 0;
  #fruitlessUntil = 0;

  /** `settled` is called when there may be more to do, after each batch. */
  constructor(env: Env, ctx: DurableObjectState, store: MessageStore, settled: () => void) {
    this.#env = env;
    this.#ctx = ctx;
    this.#store = store;
    this.#settled = settled;
  }

  get isDelivering(): boolean {
    return this.#batches > 0;
  }

  /**
   * Starts all batches that are ready and may run. When to come back for the next one; undefined if that
   * is not a question of time.
   */
  startReady(setup: QueueSetup, now: number): number | undefined {
    const { queue, consumer } = setup;
    if (consumer?.type !== "worker" || queue.settings.delivery_paused) return undefined;
    const window = windowOf(consumer);
    while (this.#mayStart(consumer) && !this.#asking) {
      const source = this.#store.firstSource(window, now);
      if (!source) return undefined;
      const startAt = Math.max(source.readyAt, this.#pausedUntil, this.#fruitlessUntil);
      if (startAt > now) return startAt;
      if (this.#unreachable) this.#ctx.waitUntil(this.#ask());
      else {
        const messages = this.#store.take(source.key, window.batchSize, now);
        if (messages.length === 0) return undefined;
        this.#ctx.waitUntil(this.#deliver(setup, consumer, messages));
      }
    }
    return undefined;
  }

  async #ask(): Promise<void> {
    this.#asking = true;
    try {
      await executorOf(this.#env, this.#ctx).ready();
      this.#unreachable = false;
    } catch {
      this.#pausedUntil = Date.now() + AWAY_PAUSE_MS;
    } finally {
      this.#asking = false;
    }
    this.#settled();
  }

  #mayStart({ settings }: WorkerConsumer): boolean {
    if (this.#fruitless > 0) return this.#batches < 1;
    const waiting = this.#store.count - this.#messagesOut;
    const grown = Math.min(1 + Math.floor(waiting / settings.batch_size), MAX_GROWN_CONCURRENCY);
    return this.#batches < (settings.max_concurrency ?? grown);
  }

  async #deliver(
    setup: QueueSetup,
    consumer: WorkerConsumer,
    messages: TakenMessage[],
  ): Promise<void> {
    this.#batches++;
    this.#messagesOut += messages.length;
    const { accountId, name } = setup.queue;
    let outcome: QueueOutcome | undefined;
    try {
      outcome = await receive(
        executorOf(this.#env, this.#ctx).handleQueue(accountId, consumer.scriptName, {
          queueName: name,
          messages: messages.map(toDelivered),
          backlog: this.#store.backlog(),
        }),
      );
    } catch (error) {
      log("warn", "batch_cut_short", {
        account: accountId,
        queue: name,
        script: consumer.scriptName,
        messages: messages.length,
        message: String(error),
      });
    } finally {
      this.#batches--;
      this.#messagesOut -= messages.length;
    }
    batchesWith(outcome?.outcome ?? "cutShort").value++;
    this.#settle(consumer, messages, outcome);
    this.#settled();
  }

  #settle(
    consumer: WorkerConsumer,
    messages: TakenMessage[],
    outcome: QueueOutcome | undefined,
  ): void {
    const now = Date.now();
    if (!outcome) {
      this.#unreachable = true;
      this.#pauseLonger(now);
      this.#apply(consumer, messages, ({ failures, cuts }) => {
        return { failures, cuts: cuts + 1, visibleAt: AT_ONCE };
      });
    } else if (outcome.outcome === "busy" || outcome.outcome === "scriptNotFound") {
      if (outcome.outcome === "busy") this.#pausedUntil = now + busyPauseMs(outcome, now);
      else this.#pauseLonger(now);
      // The worker has not seen them, so it was no attempt.
      const seqs = messages.map(({ seq }) => seq);
      this.#store.putBack(seqs, windowOf(consumer));
    } else {
      this.#pauses = 0;
      const { result = { messages: {} } } = outcome;
      const handled = outcome.outcome === "ok";
      const acked = this.#apply(consumer, messages, ({ id, failures, cuts }) => {
        const retry = wordOn(id, result, handled);
        if (!retry) return undefined;
        const batchDelay = result.all?.action === "retry" ? result.all.delaySeconds : undefined;
        const delay = retry.delaySeconds ?? batchDelay ?? consumer.settings.retry_delay;
        return { failures: failures + 1, cuts, visibleAt: visibleAfter(now, delay) };
      });
      this.#fruitless = acked > 0 ? 0 : this.#fruitless + 1;
      const pauseMs = this.#fruitless && Math.min(2 ** this.#fruitless, MAX_FRUITLESS_PAUSE_MS);
      this.#fruitlessUntil = now + pauseMs;
    }
  }

  /** `again` says what becomes of a message, undefined that it is acknowledged; how many are. */
  #apply(
    consumer: WorkerConsumer,
    messages: TakenMessage[],
    again: (message: TakenMessage) => Fate | undefined,
  ): number {
    const acked: number[] = [];
    const retried: Again[] = [];
    const givenUp: number[] = [];
    for (const message of messages) {
      const { seq } = message;
      const fate = again(message);
      if (!fate) acked.push(seq);
      else if (isLast(fate, consumer.settings.max_retries)) givenUp.push(seq);
      else retried.push({ seq, ...fate });
    }
    this.#store.settle(acked, retried, givenUp, windowOf(consumer));
    settledAs("acknowledged").value += acked.length;
    settledAs("retried").value += retried.length;
    settledAs("givenUp").value += givenUp.length;
    return acked.length;
  }

  #pauseLonger(now: number): void {
    // Batches that ended together are one reason to wait.
    if (now < this.#pausedUntil) return;
    this.#pausedUntil = now + Math.min(FIRST_PAUSE_MS * 2 ** this.#pauses++, MAX_PAUSE_MS);
  }
}

/** Whether the message is not to be delivered again. */
const isLast = ({ failures, cuts = 0 }: Fate, maxRetries: number): boolean =>
  failures + (cuts > MAX_CUTS ? cuts : 0) > maxRetries;

/** Undefined if the message is acknowledged. What a handler said stands also if it threw then. */
function wordOn(
  id: string,
  { messages, all }: BatchResult,
  handled: boolean,
): RetryAction | undefined {
  const word = messages[id] ?? all;
  if (!word) return handled ? undefined : { action: "retry" };
  return word.action === "retry" ? word : undefined;
}

const toDelivered = ({
  id,
  timestamp,
  attempts,
  contentType,
  body,
  trace,
}: TakenMessage): DeliveredMessage => ({
  id,
  timestamp,
  attempts,
  contentType,
  body,
  ...(trace !== undefined && { trace }),
});
