import { cpuRan } from "../usage/cpu-share.ts";
import type { Invocation } from "./record.ts";

/** The worker has not begun its response within its wall time. */
export class WallTimeError extends Error {
  override readonly name = "WallTimeError";
}

interface Waiting {
  limitMs: number;
  stop: (error: WallTimeError) => void;
}

// The invocations without a response yet. One look at all of them now and then costs much less than
// a timer for each, which would be on the way of every request.
const waiting = new Map<Invocation, Waiting>();

/** The call's result, or a WallTimeError some time after the limit. `answered` must follow. */
export function withWallTime<T>(
  call: Promise<T>,
  invocation: Invocation,
  limitMs: number,
): Promise<T> {
  return new Promise((resolve, reject) => {
    waiting.set(invocation, { limitMs, stop: reject });
    call.then(resolve, reject);
  });
}

/** The invocation has its result. */
export function answered(invocation: Invocation): void {
  waiting.delete(invocation);
  cpuRan(invocation);
}

/** Whether any invocation has no result yet. */
export const isAnyUnanswered = (): boolean => waiting.size > 0;

/** Stops the waiting for all that are over their limit. */
export function stopOverdue(now: number): void {
  for (const [{ startedAt }, { limitMs, stop }] of waiting) {
    if (now - startedAt > limitMs) stop(new WallTimeError(`no response within ${limitMs} ms`));
  }
}
