import type { Action } from "../../catalog/bucket-notifications.ts";
import type { WatchedBucket } from "../../catalog/buckets.ts";
import { randomHex } from "../../catalog/crypto.ts";
import type { Env } from "../../env.ts";
import type { BucketObject } from "./object.ts";
import type { Change, Outcome } from "./protocol.ts";

/** The object that keeps a bucket's notifications. */
export const bucketObject = (env: Env, number: number): DurableObjectStub<BucketObject> =>
  env.BUCKETS.get(env.BUCKETS.idFromName(String(number)));

/**
 * Makes a change of objects, given by key and by name in the platform's own bucket. If a rule wants to
 * know of it, this returns only when the notification will outlive any crash; if none does, nothing
 * but the change is done. `make` must not throw but reject.
 */
export function notifying<T>(
  env: Env,
  bucket: WatchedBucket,
  action: Action,
  objects: { key: string; name: string }[],
  make: () => Promise<T>,
  outcomeOf: (made: T) => Outcome,
): Promise<T> {
  if (bucket.notifications.length === 0) return make();
  const changes = objects.flatMap(({ key, name }): Change[] => {
    const queueIds = queuesFor(bucket, action, key);
    if (queueIds.length === 0) return [];
    const { accountId: account, name: bucketName } = bucket;
    return [{ id: randomHex(16), action, account, bucket: bucketName, key, name, queueIds }];
  });
  return changes.length === 0 ? make() : journaled(env, bucket, changes, make, outcomeOf);
}

async function journaled<T>(
  env: Env,
  bucket: WatchedBucket,
  changes: Change[],
  make: () => Promise<T>,
  outcomeOf: (made: T) => Outcome,
): Promise<T> {
  let made: Promise<T> | undefined;
  const makeOnce = async (): Promise<Outcome> => outcomeOf(await (made ??= make()));
  try {
    await bucketObject(env, bucket.number).change(changes, makeOnce);
  } catch (error) {
    // If the change was begun, the object went away meanwhile: another one is told how it ended.
    if (!made) throw error;
    await made;
    await bucketObject(env, bucket.number).change(changes, makeOnce);
  }
  return made as Promise<T>;
}

const queuesFor = ({ notifications }: WatchedBucket, action: Action, key: string): string[] => [
  ...new Set(
    notifications
      .filter(
        ({ prefix, suffix, actions }) =>
          actions.includes(action) && key.startsWith(prefix) && key.endsWith(suffix),
      )
      .map(({ queueId }) => queueId),
  ),
];
