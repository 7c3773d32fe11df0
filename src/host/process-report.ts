import { cpuSecondsOfAll } from "./cpu-time.ts";
import { log } from "./log.ts";
import type { ManagedProcess } from "./managed-process.ts";
import { MiB } from "./memory-watchdog.ts";
import { memoryOfAll } from "./memory-usage.ts";
import { restartsOf } from "./restarts.ts";
import type { TellState } from "./tell-state.ts";

const EVERY_MS = 2_000;
/** What the log warns of is seldom over in a moment. */
const WARN_EVERY_MS = 60_000;

/** CPU time of the processes of one name. */
interface CpuTime {
  /** Of those that have ended. */
  before: number;
  pid: number;
  /** Of the one that runs. */
  seconds: number;
}

/**
 * Tells state, which has the metrics, what each process takes and how often it was started again, and warns of
 * a state process that has more memory than `limitMb`: it is left alone, as all others need it.
 */
export class ProcessReport {
  readonly #timer: NodeJS.Timeout;
  readonly #cpu = new Map<string, CpuTime>();
  #warnedAt = 0;

  constructor(
    state: ManagedProcess,
    processes: () => ManagedProcess[],
    limitMb: number,
    tell: TellState,
  ) {
    this.#timer = setInterval(() => {
      const reports = processes().map(({ name, pid }) => {
        const memory_bytes = pid === undefined ? undefined : memoryOfAll(pid);
        return [
          name,
          {
            ...(memory_bytes !== undefined && { memory_bytes }),
            cpu_seconds: this.#cpuSeconds(name, pid),
            restarts: restartsOf(name),
          },
        ] as const;
      });
      const all = Object.fromEntries(reports);
      this.#warn(all[state.name]?.memory_bytes ?? 0, limitMb);
      // While state is away nobody asks it for metrics either.
      tell("/mayfly/processes", { processes: all }).catch(() => undefined);
    }, EVERY_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #cpuSeconds(name: string, pid: number | undefined): number {
    let known = this.#cpu.get(name);
    if (!known) this.#cpu.set(name, (known = { before: 0, pid: 0, seconds: 0 }));
    const seconds = pid === undefined ? undefined : cpuSecondsOfAll(pid);
    if (pid !== undefined && seconds !== undefined) {
      // Less than before: one that it had started itself has ended.
      if (pid !== known.pid || seconds < known.seconds) known.before += known.seconds;
      known.pid = pid;
      known.seconds = seconds;
    }
    return known.before + known.seconds;
  }

  #warn(bytes: number, limitMb: number): void {
    if (bytes < limitMb * MiB || Date.now() - this.#warnedAt < WARN_EVERY_MS) return;
    this.#warnedAt = Date.now();
    log("warn", "memory_high", { process: "state", memoryMb: Math.round(bytes / MiB) });
  }
}
