import { R2Store } from "../../bindings/r2/store.ts";
import { type Bucket, findBucket, getRules } from "../../catalog/buckets.ts";
import type { LifecycleRule } from "../../control/r2-rules.ts";
import type { Env } from "../../env.ts";

/** From the end of a pass to the next. */
const PAUSE_MS = 60 * 60_000;
/** How long a pass goes on before it is interrupted. */
const SLICE_MS = 10_000;
/** Few, so that an object that is put anew after it was listed is hardly ever taken for the old one. */
const PAGE_OBJECTS = 100;

/** The bucket that a pass goes over. */
export type PassBucket = Pick<Bucket, "accountId" | "name" | "number">;

interface Pass {
  bucket: PassBucket;
  /** When it begins or goes on, in milliseconds since 1970. */
  at: number;
  /** Rules that are done, by their number in the list. */
  done: number;
  /** Where the pass by the next rule goes on. */
  cursor?: string;
}

/**
 * The passes over a bucket that delete what its lifecycle rules say. They are made in slices; where
 * one ends is kept, so that the next goes on there, also after a crash.
 */
export class LifecyclePass {
  readonly #env: Env;
  readonly #kv: SyncKvStorage;
  /** Grows whenever a pass is begun or ended from outside. */
  #restarts = 0;

  constructor(env: Env, kv: SyncKvStorage) {
    this.#env = env;
    this.#kv = kv;
  }

  /** Begins passes if there are none; returns whether it did. */
  schedule(bucket: PassBucket): boolean {
    if (this.#kv.get("pass")) return false;
    this.restart(bucket);
    return true;
  }

  /** Begins a pass now. */
  restart({ accountId, name, number }: PassBucket): void {
    this.#restarts++;
    this.#save({ bucket: { accountId, name, number }, at: Date.now(), done: 0 });
  }

  /** Ends passes for good: the bucket is gone, and another may get its name. */
  stop(): void {
    this.#restarts++;
    this.#kv.delete("pass");
  }

  /** Works on a pass that is due; returns when to come back, or undefined if there is nothing to do. */
  async run(): Promise<number | undefined> {
    const pass = this.#kv.get<Pass>("pass");
    if (!pass || pass.at > Date.now()) return pass?.at;
    const restarts = this.#restarts;
    const rules = await this.#rules(pass.bucket);
    const isCurrent = (): boolean => this.#restarts === restarts;
    const interrupted = await this.#slice(pass, rules, isCurrent);
    if (!isCurrent()) return Date.now();
    if (rules.length === 0) {
      this.#kv.delete("pass");
      return undefined;
    }
    const next = interrupted ?? { bucket: pass.bucket, at: Date.now() + PAUSE_MS, done: 0 };
    this.#save(next);
    return next.at;
  }

  /** Goes on for a while; returns where to go on later, or undefined at the end. */
  async #slice(
    { bucket, done: begun, cursor: from }: Pass,
    rules: LifecycleRule[],
    isCurrent: () => boolean,
  ): Promise<Pass | undefined> {
    const endAt = Date.now() + SLICE_MS;
    const store = new R2Store(this.#env, bucket.accountId, bucket.name);
    let cursor = from;
    for (const [number, rule] of rules.entries()) {
      if (number < begun) continue;
      do {
        const position = { done: number, ...(cursor !== undefined && { cursor }) };
        if (Date.now() > endAt || !isCurrent()) return { bucket, at: Date.now(), ...position };
        const page = await store.listObjects({
          prefix: rule.conditions.prefix ?? "",
          limit: PAGE_OBJECTS,
          ...(cursor !== undefined && { cursor }),
        });
        const expired = page.objects.filter(({ uploaded }) => isExpired(rule, uploaded));
        if (expired.length > 0) {
          const keys = expired.map(({ key }) => key);
          await store.deleteObjects(keys, "LifecycleDeletion");
        }
        ({ cursor } = page);
        await scheduler.wait(1);
      } while (cursor !== undefined);
    }
    return undefined;
  }

  /** The bucket's rules that delete objects. */
  async #rules({ accountId, name, number }: PassBucket): Promise<LifecycleRule[]> {
    const bucket = await findBucket(this.#env.CATALOG, accountId, name);
    if (bucket?.number !== number) return [];
    const rules = (await getRules(this.#env.CATALOG, bucket, "lifecycle")) as LifecycleRule[];
    return rules.filter(
      ({ enabled, deleteObjectsTransition }) => enabled && deleteObjectsTransition,
    );
  }

  #save(pass: Pass): void {
    this.#kv.put("pass", pass);
  }
}

function isExpired({ deleteObjectsTransition }: LifecycleRule, uploaded: Date): boolean {
  const condition = deleteObjectsTransition?.condition;
  if (!condition) return false;
  return condition.type === "Age"
    ? Date.now() >= uploaded.getTime() + condition.maxAge * 1000
    : Date.now() >= Date.parse(condition.date);
}
