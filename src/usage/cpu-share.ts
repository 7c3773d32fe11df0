/**
 * Whose the CPU time is. The runtime runs everything in one thread and tells nobody what it takes; how much the
 * thread has used the supervisor writes into the flight recorder some times in a second. This distributes it:
 *
 * What the platform sees happen to an invocation (its result, its end, a call of a binding) it sees the moment
 * after the invocation's code has run. So the time since the last thing that happened is its own. When something
 * begins or comes back from elsewhere, nobody is known to have run: then it belongs to all that have not ended
 * and do not wait for a call. The CPU time between two looks of the supervisor is spread over these times.
 * What was used while nothing was in flight is nobody's.
 *
 * The sum is what the thread has used; who had how much of it is an estimate. docs/usage.md says how far off.
 */
import type { Isolate } from "../isolates/isolate.ts";
import { cpuReadAt, cpuUsedMs } from "../pipeline/flight-recorder.ts";
import type { Invocation } from "../pipeline/record.ts";
import { usageOf } from "./meter.ts";

/** The supervisor looks much more often. */
const STALE_MS = 5_000;

// The isolates with invocations that have not ended, and how many of their calls have not come back.
const active = new Map<Isolate, number>();

// Until when all time has been given to somebody, or to nobody.
let given = 0;
// Of the supervisor's last look that is known.
let readAt = 0;
let readMs = 0;

/** Times since then, and whose they are. */
class Times {
  readonly #whose: Invocation[] = [];
  readonly #ms: number[] = [];
  totalMs = 0;

  add(invocation: Invocation, ms: number): void {
    this.#whose.push(invocation);
    this.#ms.push(ms);
    this.totalMs += ms;
  }

  /** Spreads the CPU time over all. */
  spread(cpuMs: number): void {
    const factor = this.totalMs > 0 ? cpuMs / this.totalMs : 0;
    for (let i = 0; i < this.#whose.length; i++) {
      const invocation = this.#whose[i] as Invocation;
      const us = (this.#ms[i] as number) * factor * 1000;
      invocation.cpuTimeMs += us / 1000;
      // Whole numbers add up exactly.
      remainderUs += us;
      const whole = Math.floor(remainderUs);
      remainderUs -= whole;
      usageOf(invocation).cpuTimeUs += whole;
    }
    this.#whose.length = 0;
    this.#ms.length = 0;
    this.totalMs = 0;
  }
}

const certain = new Times();
const possible = new Times();
let remainderUs = 0;

/** An invocation begins in the isolate. */
export function cpuBegins(isolate: Isolate, now: number): void {
  pass(now);
  if (!active.has(isolate)) active.set(isolate, 0);
}

/** Code of the invocation has run until now. */
export function cpuRan(invocation: Invocation, now = Date.now()): void {
  pass(now, invocation);
}

/** The invocation is over. */
export function cpuEnds(
  invocation: Invocation,
  isolate: Isolate,
  now: number,
  late: boolean,
): void {
  pass(now, late ? undefined : invocation);
  if (isolate.running.size === 0) active.delete(isolate);
}

/** The isolate calls somebody, and goes on when it has the result. */
export function cpuWaits<T>(isolate: Isolate, result: T): T {
  const [invocation] = isolate.running;
  if (invocation) cpuRan(invocation);
  const waiting = active.get(isolate);
  if (waiting === undefined || !(result instanceof Promise)) return result;
  active.set(isolate, waiting + 1);
  const back = (): void => {
    pass(Date.now());
    const now = active.get(isolate);
    if (now) active.set(isolate, now - 1);
  };
  result.then(back, back);
  return result;
}

/** Somebody else knows what the invocation has used at least, in milliseconds. */
export function cpuSpent(invocation: Invocation, ms: number): void {
  invocation.cpuTimeMs += ms;
  usageOf(invocation).cpuTimeUs += ms * 1000;
}

/** Gives what has been used until now also to those that go on for long. */
export function shareCpu(): void {
  pass(Date.now());
}

/** Until when it is known who used what, in milliseconds since 1970; 0 where that is never known. */
export const cpuKnownUntil = (): number => readAt;

/** What has run until now the platform wanted, and no invocation did. */
export function cpuIsNobodys(): void {
  pass(Date.now(), null);
}

/** `null`: it was nobody. */
function pass(now: number, invocation?: Invocation | null): void {
  if (now <= given) return;
  const at = cpuReadAt();
  if (at > readAt) {
    // The supervisor has looked since the last time that something happened.
    const cut = Math.max(given, Math.min(at, now));
    give(cut - given, invocation);
    given = cut;
    settle(at, cpuUsedMs());
  }
  // Nobody looks, or not any more: nothing is gathered that would never be known.
  if (now - readAt > STALE_MS) forget();
  else give(now - given, invocation);
  given = now;
}

function forget(): void {
  certain.spread(0);
  possible.spread(0);
}

function give(ms: number, invocation: Invocation | null | undefined): void {
  // Before the first look nothing is known.
  if (ms <= 0 || readAt === 0 || invocation === null) return;
  if (invocation) return certain.add(invocation, ms);
  let count = 0;
  for (const [isolate, waiting] of active) if (waiting < isolate.running.size) count++;
  if (count === 0) return;
  for (const [isolate, waiting] of active) {
    if (waiting >= isolate.running.size) continue;
    const [one] = isolate.running;
    if (one) possible.add(one, ms / count);
  }
}

/** Spreads what was used between the supervisor's last look and this one. */
function settle(at: number, usedMs: number): void {
  const cpuMs = usedMs - readMs;
  const idleMs = at - readAt - certain.totalMs - possible.totalMs;
  // What was seen to run comes first, and only what does not fit into all their time can be nobody's.
  const first = Math.min(cpuMs, certain.totalMs);
  const second = Math.min(cpuMs - first, possible.totalMs);
  const excess = Math.max(0, cpuMs - first - second - idleMs);
  const toFirst = certain.totalMs > 0;
  certain.spread(toFirst ? first + excess : 0);
  possible.spread(toFirst ? second : second + excess);
  readAt = at;
  readMs = usedMs;
}
