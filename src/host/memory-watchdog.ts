import { setTimeout as sleep } from "node:timers/promises";
import type { Flight, FlightReader } from "./flight-reader.ts";
import { log } from "./log.ts";
import { LOOK_EVERY_MS, nextLook } from "./look.ts";
import type { ManagedProcess } from "./managed-process.ts";
import { MemoryBlame } from "./memory-blame.ts";
import { memoryOf } from "./memory-usage.ts";
import type { Settings } from "./settings.ts";

/** While memory grows fast: code can fill a gigabyte in half a second. */
const LOOK_SOON_MS = 20;
/** Growth in 100 ms, as a share of the limit, that counts as fast. */
const FAST = 1 / 32;
/** From this share of the limit on, memory is the first thing to suspect. */
const HIGH = 0.75;
/** Smaller changes come and go. */
const NOTABLE_BYTES = 256 * 1024;
const REPLACED_WITHIN_MS = 500;
/** If the kernel ends a process so soon after it grew fast, it was for that. */
const FAST_WITHIN_MS = 1_000;
/** For about so long the engine looks for memory that it could free, before it ends the process itself. */
const TRIES_FOR_MS = 10_000;

/** Between the two limits is what a process may take while it is being replaced. */
const HARD = 1.25;

export const MiB = 1024 * 1024;

/** How much memory a process may have, in bytes. */
export interface MemoryLimits {
  /** More than this, and it is replaced while it serves. */
  soft: number;
  /** This much, or so fast on the way to it that it would get there before the next look: it is ended. */
  hard: number;
}

/**
 * What a process may have. Where scripts run that may have eaten memory before, less is enough: what one
 * isolate should have is far below.
 */
export function memoryLimits({ memoryMb }: Settings, isApart = false): MemoryLimits {
  const soft = (memoryMb * MiB) / (isApart ? 2 : 1);
  return { soft, hard: soft * HARD };
}

/** What is done about it. */
export interface MemoryActions {
  /** It has more than the soft limit; said again as long as that is so. */
  outgrown?: () => void;
  /** It is about to be ended, or has ended by itself, and these were at work. */
  exceeded?: (suspects: Flight[]) => Promise<void>;
}

/** Reads what is in flight in a process. */
export interface FlightSource {
  /** Undefined if it has not been opened. */
  readonly reader: FlightReader | undefined;
  /** Finding it in the process's memory takes a moment. Undefined if it is not there. */
  openReader(): Promise<FlightReader | undefined>;
}

interface Watched {
  pid: number;
  bytes: number;
  fastAt: number;
  blame: MemoryBlame;
}

/** Watches the memory of a process that does users' work. Where there is no /proc it sees nothing. */
export class MemoryWatchdog {
  readonly #process: ManagedProcess;
  readonly #limits: MemoryLimits;
  readonly #flights: FlightSource | undefined;
  readonly #actions: MemoryActions;
  #watched: Watched | undefined;
  #lookedAt = 0;
  #stopped = false;

  /** `flights`: where it can be read what is in flight in the process. */
  constructor(
    process: ManagedProcess,
    limits: MemoryLimits,
    actions: MemoryActions = {},
    flights?: FlightSource,
  ) {
    this.#process = process;
    this.#limits = limits;
    this.#flights = flights;
    this.#actions = actions;
    process.onFailure = (byOthers) => this.#failed(byOthers ? FAST_WITHIN_MS : TRIES_FOR_MS);
    void this.#run();
  }

  /** Whether it has so much memory that its engine may do little else than look for more. */
  get isHigh(): boolean {
    return (this.#watched?.bytes ?? 0) >= this.#limits.soft * HIGH;
  }

  stop(): void {
    this.#stopped = true;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const fast = this.#lookedAt > 0 && this.#lookedAt === this.#watched?.fastAt;
      await (fast ? sleep(LOOK_SOON_MS, undefined, { ref: false }) : nextLook());
      const { pid } = this.#process;
      const bytes = pid === undefined ? undefined : memoryOf(pid);
      if (pid === undefined || bytes === undefined || this.#stopped) continue;
      if (this.#watched?.pid !== pid) {
        this.#watched = { pid, bytes, fastAt: 0, blame: new MemoryBlame() };
      }
      await this.#look(this.#watched, bytes);
    }
  }

  async #look(watched: Watched, bytes: number): Promise<void> {
    const { soft, hard } = this.#limits;
    const now = Date.now();
    const sinceMs = now - this.#lookedAt;
    const growth = bytes - watched.bytes;
    watched.blame.fade(sinceMs);
    if (growth > NOTABLE_BYTES) {
      const flights = this.#flights?.reader?.read(this.#lookedAt) ?? [];
      watched.blame.grown(growth, flights, this.#lookedAt, now);
      void this.#flights?.openReader();
    }
    if (growth > (soft * FAST * sinceMs) / LOOK_EVERY_MS) watched.fastAt = now;
    if (Math.abs(growth) > NOTABLE_BYTES) watched.bytes = bytes;
    this.#lookedAt = now;

    if (bytes < soft) return;
    if (bytes + Math.max(0, growth) >= hard) await this.#end(watched, bytes);
    // What grows so fast is ended before another would serve.
    else if (bytes + growth * (REPLACED_WITHIN_MS / sinceMs) < hard) this.#actions.outgrown?.();
  }

  async #end({ pid, blame }: Watched, bytes: number): Promise<void> {
    const { name } = this.#process;
    log("warn", "memory_exceeded", { process: name, pid, memoryMb: Math.round(bytes / MiB) });
    await this.#process.hold(async () => {
      const reader = await this.#flights?.openReader();
      const suspects = blame.suspects();
      await this.#actions.exceeded?.(suspects.length > 0 ? suspects : (reader?.read() ?? []));
      this.#process.restart("memory");
    });
  }

  /** The process has ended: was it for lack of memory? */
  #failed(withinMs: number): "memory" | undefined {
    const watched = this.#watched;
    this.#watched = undefined;
    if (!watched || Date.now() - watched.fastAt >= withinMs) return undefined;
    void this.#actions.exceeded?.(watched.blame.suspects());
    return "memory";
  }
}
