import type { Env } from "../env.ts";
import { wakeBuckets } from "./bucket/wake.ts";
import { refreshSchedules } from "./cron/scheduler.ts";
import { measureNowAndThen } from "../usage/storage/measure.ts";
import { updateFeeds } from "./database/update-feeds.ts";

// Whoever asks whether the platform is ready wakes it, too, and may ask often.
const PAUSE_MS = 50_000;

let wokenAt = 0;

/**
 * Sees to it that everything due is worked on, after a start and whenever the platform is woken.
 * Alarms do the same by themselves; this makes up for changes of the catalog that a crash kept from
 * the objects concerned.
 */
export async function wakeTriggers(env: Env, ctx: ExecutionContext): Promise<void> {
  if (Date.now() - wokenAt < PAUSE_MS) return;
  wokenAt = Date.now();
  await Promise.all(WAKERS.map((wake) => wake(env, ctx)));
}

/** What each kind of trigger does when the platform is woken. */
const WAKERS: ((env: Env, ctx: ExecutionContext) => Promise<unknown>)[] = [
  (env) => refreshSchedules(env),
  (env) => wakeBuckets(env),
  (env, ctx) => updateFeeds(env, ctx),
  (env, ctx) => measureNowAndThen(env, ctx),
];
