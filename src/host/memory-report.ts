import { log } from "./log.ts";
import type { ManagedProcess } from "./managed-process.ts";
import { MiB } from "./memory-watchdog.ts";
import { memoryOfAll } from "./memory-usage.ts";
import type { TellState } from "./tell-state.ts";

const EVERY_MS = 2_000;
/** What the log warns of is seldom over in a moment. */
const WARN_EVERY_MS = 60_000;

/**
 * Tells state, which has the metrics, how much memory each process has, and warns of a state process that
 * has more than `limitMb`: it is left alone, as all others need it.
 */
export class MemoryReport {
  readonly #timer: NodeJS.Timeout;
  #warnedAt = 0;

  constructor(
    state: ManagedProcess,
    processes: () => ManagedProcess[],
    limitMb: number,
    tell: TellState,
  ) {
    this.#timer = setInterval(() => {
      const memory: Record<string, number> = {};
      for (const { name, pid } of processes()) {
        const bytes = pid === undefined ? undefined : memoryOfAll(pid);
        if (bytes !== undefined) memory[name] = bytes;
      }
      this.#warn(memory[state.name] ?? 0, limitMb);
      // While state is away nobody asks it for metrics either.
      tell("/mayfly/processes", { memory_bytes: memory }).catch(() => undefined);
    }, EVERY_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #warn(bytes: number, limitMb: number): void {
    if (bytes < limitMb * MiB || Date.now() - this.#warnedAt < WARN_EVERY_MS) return;
    this.#warnedAt = Date.now();
    log("warn", "memory_high", { process: "state", memoryMb: Math.round(bytes / MiB) });
  }
}
