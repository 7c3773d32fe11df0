/**
 * What is in flight, written where the supervisor can read it even if this process stands still: into
 * plain memory that it finds by its first bytes (`src/host/flight-reader.ts`). Costs the hot path a few
 * stores and no call. Only where there is a supervisor.
 */
import { env } from "cloudflare:workers";
import type { Env } from "../env.ts";
import {
  CPU_AT_OFFSET,
  CPU_OFFSET,
  FREE,
  HEADER_BYTES,
  IN_FLIGHT,
  LINGERING,
  MARK_BYTES,
  MOVES_OFFSET,
  SLOT_BYTES,
  SLOTS,
} from "./flight-layout.ts";

const { MAYFLY_FLIGHT_MARK: mark } = env as Env;
const memory = new ArrayBuffer(mark ? HEADER_BYTES + SLOTS * SLOT_BYTES : 0);
const words = new Uint32Array(memory);
const doubles = new Float64Array(memory);
if (mark) {
  const bytes = new Uint8Array(memory);
  for (let i = 0; i < MARK_BYTES; i++) bytes[i] = parseInt(mark.slice(2 * i, 2 * i + 2), 16);
}

// Free slots are those from `free` on, and those given back.
const givenBack: number[] = [];
let free = 0;
interface Taken {
  slot: number;
  scriptId: string;
}
// By the invocation, or by the isolate that starts or lingers.
const taken = new Map<object, Taken>();

const wordOf = (slot: number): number => (HEADER_BYTES + slot * SLOT_BYTES) / 4;

function take(what: object, scriptId: string, cpuMs: number, use: number): void {
  if (!mark || taken.has(what)) return;
  const slot = givenBack.pop() ?? (free < SLOTS ? free++ : undefined);
  if (slot === undefined) return;
  taken.set(what, { slot, scriptId });
  const at = wordOf(slot);
  for (let i = 0; i < 4; i++) words[at + i] = parseInt(scriptId.slice(8 * i, 8 * i + 8), 16);
  doubles[at / 2 + 2] = Date.now();
  words[at + 6] = cpuMs;
  words[at + 7] = use;
  move();
}

/** How much CPU time this process had used when the supervisor last looked; 0 if it never has. */
export const cpuUsedMs = (): number => doubles[CPU_OFFSET / 8] ?? 0;

/** When that was, in milliseconds since 1970. */
export const cpuReadAt = (): number => doubles[CPU_AT_OFFSET / 8] ?? 0;

/** Something goes forward: whatever ran before has come to an end, or to a pause. */
export function move(): void {
  words[MOVES_OFFSET / 4] = (words[MOVES_OFFSET / 4] ?? 0) + 1;
}

/** Code of the script begins to run: an invocation, or the start of an isolate. */
export function takeOff(what: object, scriptId: string, cpuMs: number): void {
  take(what, scriptId, cpuMs, IN_FLIGHT);
}

/** An isolate is there in which code of the script may run unseen. */
export function linger(isolate: object, scriptId: string, cpuMs: number): void {
  take(isolate, scriptId, cpuMs, LINGERING);
}

/** It is over. */
export function land(what: object): void {
  const known = taken.get(what);
  if (!known) return;
  taken.delete(what);
  const at = wordOf(known.slot);
  words[at + 6] = Date.now() - (doubles[at / 2 + 2] ?? 0);
  words[at + 7] = FREE;
  move();
  givenBack.push(known.slot);
}

/** Whether code of the script may be running in this process. */
export function isInFlight(scriptId: string): boolean {
  for (const known of taken.values()) if (known.scriptId === scriptId) return true;
  return false;
}
