import { closeSync, openSync, readSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { FlightReader } from "./flight-reader.ts";
import { nextLook } from "./look.ts";

/** While a process works: what runs within such a time cannot be told apart for sure. */
const LOOK_EVERY_MS = 20;
/** One that used less since the last look did nothing for anybody. */
const WORKED_MS = 1;
/** After so many looks at processes that do nothing they are looked at as seldom as by others. */
const QUIET_LOOKS = 50;
const MAX_LENGTH = 64;

const clocks = new Set<CpuClock>();
let running = false;

async function run(): Promise<void> {
  for (let quiet = 0; clocks.size > 0; quiet++) {
    await (quiet > QUIET_LOOKS ? nextLook() : sleep(LOOK_EVERY_MS, undefined, { ref: false }));
    for (const clock of clocks) if (clock.look()) quiet = 0;
  }
  running = false;
}

/**
 * Tells a process how much CPU time its first thread has used, in which workerd runs all JavaScript, since
 * workerd does not tell it: some times in a second, into its flight recorder. Linux only.
 */
export class CpuClock {
  readonly #pid: () => number | undefined;
  readonly #reader: () => FlightReader | undefined;
  /** Of the process whose numbers are read through it. */
  #opened: { pid: number; file: number } | undefined;
  #lastMs = 0;

  /** Both are asked each time, as the process may be another one by then. */
  constructor(pid: () => number | undefined, reader: () => FlightReader | undefined) {
    this.#pid = pid;
    this.#reader = reader;
    clocks.add(this);
    if (!running) void run();
    running = true;
  }

  stop(): void {
    this.#close();
    clocks.delete(this);
  }

  /** Tells it now. Whether the process has worked since the last time. */
  look(): boolean {
    const reader = this.#reader();
    const pid = this.#pid();
    if (!reader || pid === undefined) return false;
    const before = this.#lastMs;
    try {
      this.#lastMs = this.#usedMs(pid);
      reader.tellCpu(this.#lastMs, performance.timeOrigin + performance.now());
    } catch {
      // It has ended; another one may come.
      this.#close();
    }
    return Math.abs(this.#lastMs - before) > WORKED_MS;
  }

  #usedMs(pid: number): number {
    if (this.#opened?.pid !== pid) {
      this.#close();
      this.#opened = { pid, file: openSync(`/proc/${pid}/task/${pid}/schedstat`, "r") };
    }
    const text = Buffer.alloc(MAX_LENGTH);
    readSync(this.#opened.file, text, 0, MAX_LENGTH, 0);
    // In nanoseconds, up to the first space.
    return parseInt(text.toString("latin1"), 10) / 1e6;
  }

  #close(): void {
    if (this.#opened) closeSync(this.#opened.file);
    this.#opened = undefined;
  }
}
