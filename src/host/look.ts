import { setTimeout as sleep } from "node:timers/promises";

/** How often is looked at the processes that can be looked at from outside. */
export const LOOK_EVERY_MS = 100;

let next: Promise<void> | undefined;

/** The next moment for a look: the same for all, so that a supervisor with nothing else to do wakes up once. */
export function nextLook(): Promise<void> {
  next ??= sleep(LOOK_EVERY_MS, undefined, { ref: false }).then(() => {
    next = undefined;
  });
  return next;
}
