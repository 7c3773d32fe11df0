import type { EventOutcome } from "../roles/events.ts";

const MIN_PAUSE_MS = 1_000;
/** A budget may be raised before its period ends: so long after that at the latest the event is tried again. */
const MAX_PAUSE_MS = 5_000;

/** How long an event waits before it is tried again, for which the outcome was `busy`. */
export const busyPauseMs = ({ busyUntil = 0 }: EventOutcome, now: number): number =>
  Math.min(Math.max(busyUntil - now, MIN_PAUSE_MS), MAX_PAUSE_MS);
