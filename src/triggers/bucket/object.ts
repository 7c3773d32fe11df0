import { DurableObject } from "cloudflare:workers";
import { enqueue } from "../../bindings/queue/enqueue.ts";
import type { Env } from "../../env.ts";
import { log } from "../../observe/log.ts";
import { receive } from "../../roles/forward.ts";
import { Journal } from "./journal.ts";
import { LifecyclePass, type PassBucket } from "./lifecycle.ts";
import { type Change, isDeletion, type Outcome, type StoredObject } from "./protocol.ts";

/** After this long somebody looks what has become of an intent or a message. */
const RECOVER_AFTER_MS = 60_000;
const RETRY_AFTER_MS = 1_000;
/** Messages given to a queue at once. */
const BATCH_MESSAGES = 100;
/** Objects that are asked for at once. */
const PARALLEL_HEADS = 50;

/** A change whose maker is known to be at work. */
interface UnderWay {
  change: Change;
  /**
   * Whether an object was being put under the key at the same time: then one may have been deleted
   * that was not there before.
   */
  contended: boolean;
}

/**
 * What a bucket does by itself: it sees to it that queues are told of changes, and that objects go
 * when their time is over. The object store and the queues are stores of their own: an intent in the
 * journal before a change, and a message in its place after it, make sure that no crash loses a
 * notification.
 */
export class BucketObject extends DurableObject<Env> {
  readonly #journal: Journal;
  readonly #lifecycle: LifecyclePass;
  /** By key. Other intents of the journal were left by a crash. */
  readonly #underWay = new Map<string, UnderWay[]>();
  /** Queues that are being given their messages. */
  readonly #delivering = new Set<string>();
  #retryAfterMs = RETRY_AFTER_MS;
  /** When the alarm goes off; undefined if it is not set. */
  #alarmAt: number | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#journal = new Journal(ctx.storage.sql);
    this.#lifecycle = new LifecyclePass(env, ctx.storage.kv);
    void ctx.blockConcurrencyWhile(async () => {
      this.#alarmAt = (await ctx.storage.getAlarm()) ?? undefined;
    });
  }

  /**
   * Has `make` change objects and keeps a notification of each change. Returns when the
   * notifications are kept, or when it is certain that nothing has changed. Changes of one key may go
   * on at the same time: each tells the others' intents what it has left behind.
   */
  async change(changes: Change[], make: () => Promise<Outcome>): Promise<void> {
    const underWay = changes.map((change) => this.#enter(change));
    try {
      const versions = await this.#versionsOf(changes);
      this.#wakeAt(Date.now() + RECOVER_AFTER_MS);
      for (const [index, { change }] of underWay.entries()) {
        this.#journal.begin(change, versions[index] ?? null);
        if (this.#isContended(change.key)) this.#journal.doubtAbsence(change.key);
      }
      // Nothing is changed before the intents and the alarm are on disk.
      await this.ctx.storage.sync();
      let outcome: Outcome;
      try {
        outcome = await receive(make());
      } catch {
        // Its maker knows the error; whether it has changed something, only the store can tell.
        await this.#settle(changes);
        return;
      }
      const now = Date.now();
      for (const [index, { change, contended }] of underWay.entries()) {
        const hadEffect = isDeletion(change.action)
          ? typeof versions[index] === "string" || contended
          : outcome !== "unchanged";
        if (!hadEffect) this.#journal.cancel(change);
        else this.#journal.commit(change, typeof outcome === "object" ? outcome : undefined, now);
      }
    } finally {
      for (const entry of underWay) this.#leave(entry);
      this.ctx.waitUntil(this.#deliver());
    }
  }

  /** Works on what was left behind, and begins passes over the bucket if it has rules for them. */
  async wake(bucket: PassBucket): Promise<void> {
    if (this.#lifecycle.schedule(bucket)) this.#wakeAt(Date.now());
    await this.#recover();
    await this.#deliver();
  }

  /** The rules for the bucket's objects have changed: goes by them at once, in the background. */
  async applyLifecycle(bucket: PassBucket): Promise<void> {
    this.#lifecycle.restart(bucket);
    this.#wakeAt(Date.now());
  }

  /** The bucket was deleted: forgets everything once its last notifications have been delivered. */
  async retire(): Promise<void> {
    this.#lifecycle.stop();
    this.ctx.storage.kv.put("retired", true);
    this.#wakeAt(Date.now());
  }

  /** Never fails: an alarm that keeps failing would be given up. */
  override async alarm(): Promise<void> {
    this.#alarmAt = undefined;
    try {
      await this.#recover();
      await this.#deliver();
      if (!this.#journal.isEmpty) this.#wakeAt(Date.now() + RECOVER_AFTER_MS);
      else if (this.ctx.storage.kv.get("retired") && this.#underWay.size === 0) {
        await this.ctx.storage.deleteAlarm();
        await this.ctx.storage.deleteAll();
        return;
      }
      const nextPassAt = await this.#lifecycle.run();
      if (nextPassAt !== undefined) this.#wakeAt(nextPassAt);
    } catch (error) {
      log("error", "bucket_alarm_failed", { message: String(error) });
      this.#wakeAt(Date.now() + RECOVER_AFTER_MS);
    }
  }

  #enter(change: Change): UnderWay {
    const others = this.#underWay.get(change.key) ?? [];
    const entry = { change, contended: others.some((other) => !isDeletion(other.change.action)) };
    if (!isDeletion(change.action)) for (const other of others) other.contended = true;
    this.#underWay.set(change.key, [...others, entry]);
    return entry;
  }

  #isContended(key: string): boolean {
    return this.#underWay.get(key)?.some(({ contended }) => contended) ?? false;
  }

  #leave(entry: UnderWay): void {
    const { key } = entry.change;
    const others = this.#underWay.get(key)?.filter((other) => other !== entry) ?? [];
    if (others.length > 0) this.#underWay.set(key, others);
    else this.#underWay.delete(key);
  }

  /** The version of each object, or null if there is none. */
  async #versionsOf(changes: Change[]): Promise<(string | null)[]> {
    const versions: (string | null)[] = [];
    for (let at = 0; at < changes.length; at += PARALLEL_HEADS) {
      const heads = changes
        .slice(at, at + PARALLEL_HEADS)
        .map(({ name }) => this.env.BUCKET.head(name));
      for (const object of await Promise.all(heads)) versions.push(object?.version ?? null);
    }
    return versions;
  }

  /** Finds out what has become of changes whose makers are gone. */
  async #recover(): Promise<void> {
    const isUnderWay = ({ key, id }: Change): boolean =>
      this.#underWay.get(key)?.some(({ change }) => change.id === id) ?? false;
    await this.#settle(this.#journal.changes().filter((change) => !isUnderWay(change)));
  }

  async #settle(changes: Change[]): Promise<void> {
    for (const change of changes) {
      const object = await this.env.BUCKET.head(change.name);
      this.#journal.settle(change, object ? toStoredObject(object) : undefined);
    }
  }

  async #deliver(): Promise<void> {
    await Promise.all(this.#journal.queues().map((queueId) => this.#deliverTo(queueId)));
  }

  /** Gives a queue its messages in the order of the changes, until there are none left. */
  async #deliverTo(queueId: string): Promise<void> {
    if (this.#delivering.has(queueId)) return;
    this.#delivering.add(queueId);
    try {
      for (;;) {
        const messages = this.#journal.messagesFor(queueId, BATCH_MESSAGES);
        if (messages.length === 0) break;
        const known = await enqueue(
          this.env,
          queueId,
          messages.map(({ id, body, timestamp }) => ({ id, body, timestamp, contentType: "json" })),
          "bucket",
        );
        if (!known) log("warn", "notifications_dropped", { queueId, count: messages.length });
        this.#journal.removeMessages(queueId, messages);
        this.#retryAfterMs = RETRY_AFTER_MS;
      }
    } catch (error) {
      log("warn", "notifications_delayed", { queueId, message: String(error) });
      this.#wakeAt(Date.now() + this.#retryAfterMs);
      this.#retryAfterMs = Math.min(2 * this.#retryAfterMs, RECOVER_AFTER_MS);
    } finally {
      this.#delivering.delete(queueId);
    }
  }

  /** Has the alarm go off at this time at the latest. */
  #wakeAt(at: number): void {
    if (this.#alarmAt !== undefined && this.#alarmAt <= at) return;
    this.#alarmAt = at;
    void this.ctx.storage.setAlarm(at);
  }
}

const toStoredObject = ({ version, size, etag, uploaded }: R2Object): StoredObject => ({
  version,
  size,
  eTag: etag,
  uploadedAt: uploaded.getTime(),
});
