/**
 * Turns of the scripts in a lane: the invocations of one at a time, so that a stall has one culprit. A
 * turn ends when nothing of its script is in flight, or after a second: who waits for others for longer
 * must not keep this process from the next.
 */
import { isInFlight } from "./flight-recorder.ts";

const MAX_TURN_MS = 1_000;
/** What an invocation that has been let in may take to arrive; longer while this process has only begun. */
const ARRIVAL_MS = 20;
const FIRST_ARRIVAL_MS = 100;
const FIRST_MS = 1_000;
const LOOK_EVERY_MS = 5;
/** Who waits so long is told to ask again. */
const MAX_WAIT_MS = 5_000;
/** A script for which nobody has asked for so long does not wait any more. */
const GONE_AFTER_MS = 100;
/** All of them look every few milliseconds. */
const MAX_WAITING = 200;

let current = { scriptId: "", begunAt: 0, letInAt: 0 };
// Scripts that wait for their turn, first come, first served; when somebody last asked.
const waiting = new Map<string, number>();
let asking = 0;
/** When the first was asked for, in milliseconds since 1970. */
let firstAskedAt = 0;

/** `false`: not now, ask again. `busy`: too many ask already. */
export async function takeTurn(scriptId: string): Promise<true | false | "busy"> {
  if (mayEnter(scriptId, Date.now())) return true;
  if (asking >= MAX_WAITING) return "busy";
  asking++;
  try {
    const until = Date.now() + MAX_WAIT_MS;
    for (let now = Date.now(); now < until; now = Date.now()) {
      if (mayEnter(scriptId, now)) return true;
      waiting.set(scriptId, now);
      await scheduler.wait(LOOK_EVERY_MS);
    }
    return false;
  } finally {
    asking--;
  }
}

/**
 * An invocation has come that was let in. What took longer than expected, or was let in by a process that has
 * ended since, waits for the next turn of its script.
 */
export async function arrive(scriptId: string): Promise<void> {
  for (const until = Date.now() + MAX_WAIT_MS; Date.now() < until;) {
    if (mayEnter(scriptId, Date.now())) return;
    waiting.set(scriptId, Date.now());
    await scheduler.wait(LOOK_EVERY_MS);
  }
}

function mayEnter(scriptId: string, now: number): boolean {
  for (const [id, askedAt] of waiting) if (now - askedAt > GONE_AFTER_MS) waiting.delete(id);
  const { begunAt, letInAt } = current;
  const [first] = waiting.keys();
  firstAskedAt ||= now;
  const arrivalMs = now - firstAskedAt < FIRST_MS ? FIRST_ARRIVAL_MS : ARRIVAL_MS;
  // As long as nobody else waits, or a moment after it began, it goes on.
  const goesOn = first === undefined || first === scriptId || now - begunAt < arrivalMs;
  if (current.scriptId === scriptId && goesOn) {
    current.letInAt = now;
    return true;
  }
  const busy = now - letInAt < arrivalMs || isInFlight(current.scriptId);
  if ((busy && now - begunAt < MAX_TURN_MS) || (first ?? scriptId) !== scriptId) return false;
  waiting.delete(scriptId);
  current = { scriptId, begunAt: now, letInAt: now };
  return true;
}
