import { closeSync, openSync, readFileSync, readSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import {
  CPU_OFFSET,
  FREE,
  HEADER_BYTES,
  LINGERING,
  MARK_BYTES,
  MOVES_OFFSET,
  SLOT_BYTES,
  SLOTS,
} from "../pipeline/flight-layout.ts";

/** What an executor has begun and not ended. */
export interface Flight {
  scriptId: string;
  /** Milliseconds since 1970. */
  since: number;
  /** Its CPU limit in milliseconds. */
  cpuMs: number;
  /** In milliseconds since 1970; undefined if it has not ended. */
  endedAt?: number;
  /** Whether the script has only an isolate there, in which something may go on unseen. */
  lingers: boolean;
}

const PIECE_BYTES = 1024 * 1024;
/** Between pieces others get their turn: there may be hundreds of MiB to look through. */
const PIECES_AT_ONCE = 16;

/**
 * Reads the flight recorder of an executor out of its memory, whatever the executor does, and writes what
 * only others can know of it. Linux lets a parent do that; elsewhere there is nothing to read.
 */
export class FlightReader {
  readonly #memory: number;
  readonly #address: bigint;

  private constructor(memory: number, address: bigint) {
    this.#memory = memory;
    this.#address = address;
  }

  /** Looks for the recorder that begins with the mark; undefined if there is none to be found. */
  static async open(pid: number, mark: Buffer): Promise<FlightReader | undefined> {
    let memory: number;
    try {
      memory = openSync(`/proc/${pid}/mem`, "r+");
    } catch {
      return undefined;
    }
    try {
      const address = await find(mark, pid, memory);
      if (address !== undefined) return new FlightReader(memory, address);
    } catch {
      // The process has ended.
    }
    closeSync(memory);
    return undefined;
  }

  /** Another number whenever a flight has begun or ended; undefined if the process is gone. */
  moves(): number | undefined {
    return this.#bytes(MOVES_OFFSET, 4)?.readUInt32LE();
  }

  /**
   * What is in flight, oldest first, and what has ended after a time, in milliseconds since 1970, as far as it
   * can still be seen. Empty if the process is gone.
   */
  read(endedAfter = Infinity): Flight[] {
    const slots = this.#bytes(HEADER_BYTES, SLOTS * SLOT_BYTES) ?? Buffer.alloc(0);
    const flights: Flight[] = [];
    for (let at = 0; at < slots.length; at += SLOT_BYTES) {
      const use = slots.readUInt32LE(at + 28);
      const since = slots.readDoubleLE(at + 16);
      const cpuMs = slots.readUInt32LE(at + 24);
      const endedAt = use === FREE ? since + cpuMs : undefined;
      if (endedAt !== undefined && endedAt <= endedAfter) continue;
      const words = [0, 4, 8, 12].map((offset) => slots.readUInt32LE(at + offset));
      flights.push({
        scriptId: words.map((word) => word.toString(16).padStart(8, "0")).join(""),
        since,
        cpuMs,
        ...(endedAt !== undefined && { endedAt }),
        lingers: use === LINGERING,
      });
    }
    return flights.sort((a, b) => a.since - b.since);
  }

  /** Tells the process how much CPU time it had used at a time, both in milliseconds, the latter since 1970. */
  tellCpu(usedMs: number, at: number): void {
    const bytes = Buffer.alloc(16);
    bytes.writeDoubleLE(usedMs, 0);
    bytes.writeDoubleLE(at, 8);
    try {
      writeSync(this.#memory, bytes, 0, bytes.length, Number(this.#address) + CPU_OFFSET);
    } catch {
      // The process is gone.
    }
  }

  #bytes(offset: number, length: number): Buffer | undefined {
    const bytes = Buffer.alloc(length);
    try {
      const read = readSync(this.#memory, bytes, 0, length, this.#address + BigInt(offset));
      return read === length ? bytes : undefined;
    } catch {
      return undefined;
    }
  }

  close(): void {
    closeSync(this.#memory);
  }
}

async function find(mark: Buffer, pid: number, memory: number): Promise<bigint | undefined> {
  const piece = Buffer.alloc(PIECE_BYTES + MARK_BYTES);
  let pieces = 0;
  for (const { from, to } of residentRegions(pid)) {
    for (let at = from; at < to; at += BigInt(PIECE_BYTES)) {
      const length = Math.min(piece.length, Number(to - at));
      let read = 0;
      try {
        read = readSync(memory, piece, 0, length, at);
      } catch {
        continue; // Gone since it was listed.
      }
      const found = piece.subarray(0, read).indexOf(mark);
      if (found >= 0) return at + BigInt(found);
      if (++pieces % PIECES_AT_ONCE === 0) await sleep(0);
    }
  }
  return undefined;
}

/** Writable private memory of which something is in RAM. */
function residentRegions(pid: number): { from: bigint; to: bigint }[] {
  const regions: { from: bigint; to: bigint }[] = [];
  let current: { from: bigint; to: bigint } | undefined;
  for (const line of readFileSync(`/proc/${pid}/smaps`, "utf8").split("\n")) {
    const header = /^([0-9a-f]+)-([0-9a-f]+) rw-p/.exec(line);
    if (header) current = { from: BigInt(`0x${header[1]}`), to: BigInt(`0x${header[2]}`) };
    else if (/^[0-9a-f]+-/.test(line)) current = undefined;
    else if (current && /^Rss:\s+[1-9]/.test(line)) regions.push(current);
  }
  return regions;
}
