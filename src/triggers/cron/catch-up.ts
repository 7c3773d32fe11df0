import type { CronSchedule } from "./schedule.ts";

/** Which of the slots that were missed are run: the newest, all, or none. */
export const CATCH_UP_POLICIES = ["latest", "all", "none"] as const;

export type CatchUpPolicy = (typeof CATCH_UP_POLICIES)[number];

/**
 * A slot that is further behind has been missed. Slots are a minute apart at least, so one that is
 * run within this time is run before the next but one is due.
 */
export const MISSED_AFTER_MS = 60_000;

/** How many missed slots of a cron are run at most, the newest: a day of minutes. */
export const MAX_CAUGHT_UP = 1_440;

/** What is to be done about a cron whose slot has come. */
export interface Step {
  /** The slot to be run, if any. */
  slot?: number;
  /** The slot to be looked at next, which may have come, too; undefined if there is none. */
  nextAt: number | undefined;
}

export const isMissed = (slot: number, now: number): boolean => now - slot > MISSED_AFTER_MS;

/** Decides about the slot `due`, which is not after `now`. */
export function toStep(
  schedule: CronSchedule,
  due: number,
  now: number,
  policy: CatchUpPolicy,
): Step {
  if (!isMissed(due, now)) return { slot: due, nextAt: schedule.next(due) };
  if (policy === "all") {
    // Only if this much was missed there can be more slots than are caught up.
    const isLong = now - due >= MAX_CAUGHT_UP * MISSED_AFTER_MS;
    const [oldest = due] = isLong ? schedule.latest(now, MAX_CAUGHT_UP) : [];
    const slot = Math.max(due, oldest);
    return { slot, nextAt: schedule.next(slot) };
  }
  const nextAt = schedule.next(now - MISSED_AFTER_MS - 1);
  const isAnyInTime = nextAt !== undefined && nextAt <= now;
  if (policy === "none" || isAnyInTime) return { nextAt };
  const [newest = due] = schedule.latest(now, 1);
  return { slot: newest, nextAt };
}
