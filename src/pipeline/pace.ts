import { AT_ONCE } from "./flight-layout.ts";

/**
 * The runtime runs all that is ready before it looks for what has come in. Of many requests that come in at
 * the same moment only some are begun, and the others a moment later, so that other things get their turn
 * in between: answers go out, and the supervisor is told that this process does not stand still.
 */
let begun = 0;
let moment = 0;

/** Something has been answered, so that moment is over. */
export function nextMoment(): void {
  begun = 0;
}

/** Whether the next invocation must wait for the next moment. Counts it if not. */
export function mustWait(): boolean {
  if (begun >= AT_ONCE) return true;
  begun++;
  return false;
}

/** Waits for the next moment in which it may begin. */
export async function waitForMoment(): Promise<void> {
  do {
    const last = moment;
    await scheduler.wait(0);
    // The first that comes back begins the next one.
    if (last !== moment) continue;
    moment++;
    nextMoment();
  } while (mustWait());
}
