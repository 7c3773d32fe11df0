/**
 * What is in flight, written where the supervisor can read it even if this process stands still: into
 * plain memory that it finds by its first bytes (`src/host/flight-reader.ts`). Costs the hot path a few
 * stores and no call.
 *
 * Layout, little endian: 64 bytes of header (16 of mark, then the number of slots as uint32), then slots
 * of 32 bytes: script id (16), when it began in milliseconds since 1970 (float64), its CPU limit in
 * milliseconds (uint32), 1 if taken (uint32).
 */
import type { Invocation } from "./record.ts";
import { FLIGHT_MARK, HEADER_BYTES, SLOT_BYTES, SLOTS } from "./flight-layout.ts";

const memory = new ArrayBuffer(HEADER_BYTES + SLOTS * SLOT_BYTES);
const words = new Uint32Array(memory);
const doubles = new Float64Array(memory);
// Nowhere else in this process these bytes stand in a row.
new Uint8Array(memory).set(FLIGHT_MARK.map((byte) => byte ^ 0xff));
words[4] = SLOTS;

// Free slots are those from `free` on, and those given back.
const givenBack: number[] = [];
let free = 0;
const taken = new Map<Invocation, number>();

/** An invocation of the script begins. Without a free slot it is not seen. */
export function takeOff(invocation: Invocation, scriptId: string, cpuMs: number): void {
  const slot = givenBack.pop() ?? (free < SLOTS ? free++ : undefined);
  if (slot === undefined) return;
  taken.set(invocation, slot);
  const at = (HEADER_BYTES + slot * SLOT_BYTES) / 4;
  for (let i = 0; i < 4; i++) words[at + i] = parseInt(scriptId.slice(8 * i, 8 * i + 8), 16);
  doubles[at / 2 + 2] = invocation.startedAt;
  words[at + 6] = cpuMs;
  words[at + 7] = 1;
}

/** It is over. */
export function land(invocation: Invocation): void {
  const slot = taken.get(invocation);
  if (slot === undefined) return;
  taken.delete(invocation);
  words[(HEADER_BYTES + slot * SLOT_BYTES) / 4 + 7] = 0;
  givenBack.push(slot);
}
