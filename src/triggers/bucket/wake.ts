import { listActiveBuckets } from "../../catalog/bucket-notifications.ts";
import type { Env } from "../../env.ts";
import { log } from "../../observe/log.ts";
import { bucketObject } from "./notify.ts";

let woken = false;

/**
 * Wakes every bucket that has something to do by itself, once in the life of this isolate: alarms do
 * the rest, but would take up to a minute to find what a crash has left behind.
 */
export async function wakeBuckets(env: Env): Promise<void> {
  if (woken) return;
  woken = true;
  for (const bucket of await listActiveBuckets(env.CATALOG)) {
    try {
      await bucketObject(env, bucket.number).wake(bucket);
    } catch (error) {
      log("error", "bucket_wake_failed", { bucket: bucket.name, message: String(error) });
    }
  }
}
