import type { CronSchedule } from "./schedule.ts";

/** Which of the slots that were missed are run: the newest, all, or none. */
export const CATCH_UP_POLICIES = ["latest", "all", "none"] as const;

export type CatchUpPolicy = (typeof CATCH_UP_POLICIES)[number];

/**
 * A slot that is further behind has been missed. Slots are a minute apart at least, so one that is
 * run within this time is run before the next one is due.
 */
export const MISSED_AFTER_MS = 60_000;

/** How many missed slots of a cron are run at most, the newest: a day of minutes. */
export const MAX_CAUGHT_UP = 1_440;

export interface DueSlot {
  scheduledTime: number;
  /** It had been missed. */
  caughtUp: boolean;
}

/** The slots to be run now, in order, of those that were not looked at since `from` was due. */
export function dueSlots(
  schedule: CronSchedule,
  from: number,
  now: number,
  policy: CatchUpPolicy,
): DueSlot[] {
  // In time, as nearly always: all slots since then are recent.
  const count = now - from > MISSED_AFTER_MS && policy === "all" ? MAX_CAUGHT_UP : 2;
  const slots = schedule
    .latest(now, count)
    .filter((slot) => slot >= from)
    .map((slot) => ({ scheduledTime: slot, caughtUp: now - slot > MISSED_AFTER_MS }));
  if (policy === "all") return slots;
  const inTime = slots.filter(({ caughtUp }) => !caughtUp);
  return policy === "none" || inTime.length > 0 ? inTime : slots.slice(-1);
}
