import type { ChildProcess } from "node:child_process";
import { constants } from "node:os";
import type { Guardian } from "./guardian.ts";
import { handOver } from "./hand-over.ts";
import { log } from "./log.ts";
import { countRestart, type RestartReason } from "./restarts.ts";
import { pidInside } from "./sandbox.ts";

const FIRST_BACKOFF_MS = 50;
const MAX_BACKOFF_MS = 5_000;
/** One that ends so often without settling in between is not crashing by chance. */
const CRASH_LOOP = 5;
/** One that lived this long is started again at once when it ends. */
const SETTLED_AFTER_MS = 10_000;

/**
 * One process of the platform, started again whenever it ends.
 *
 * States: *running* → (ends) → *waiting* for the backoff → *running*; `stop` leads from either to
 * *stopped*, which is final.
 */
export class ManagedProcess {
  readonly name: string;
  readonly #spawn: () => ChildProcess;
  readonly #guardian: Guardian;
  /** It may be there only to start another, whose id is known a moment later. */
  #child: ChildProcess | undefined;
  #pid: number | undefined;
  #backoffMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #restarting = false;
  /** Why it is being ended, if it is. */
  #endedFor: RestartReason | undefined;
  /** When it was last started, in milliseconds of the epoch. */
  startedAt = 0;
  /** How often it has ended by itself since it last ran for a while. */
  failures = 0;
  /** Called when it has ended by itself, or others have ended it; it may know why. */
  onFailure: ((byOthers: boolean) => RestartReason | undefined) | undefined;

  /** `spawn` starts the process, detached, so that it leads a process group of its own. */
  constructor(name: string, guardian: Guardian, spawn: () => ChildProcess) {
    this.name = name;
    this.#guardian = guardian;
    this.#spawn = spawn;
  }

  start(): void {
    const child = this.#spawn();
    this.#child = child;
    this.startedAt = Date.now();
    const pid = child.pid;
    if (pid) this.#guardian.add(pid);
    let ended = false;
    const onEnd = (reason: Record<string, unknown>): void => {
      if (ended) return;
      ended = true;
      if (pid) {
        // What it started itself ends with it.
        signalGroup(pid, "SIGKILL");
        this.#guardian.drop(pid);
      }
      this.#child = undefined;
      this.#pid = undefined;
      if (!this.#stopped) this.#restart(reason);
    };
    child.once("error", (error) => onEnd({ message: error.message }));
    const inside = pidInside(child);
    child.once("exit", (code, signal) =>
      onEnd(inside && !signal ? endInside(code) : { code, signal }),
    );
    if (inside) void inside.then((id) => this.#runs(child, id));
    else this.#runs(child, pid);
  }

  #runs(child: ChildProcess, pid: number | undefined): void {
    if (child !== this.#child) return;
    this.#pid = pid;
    log("info", "process_started", { process: this.name, pid });
  }

  #restart(reason: Record<string, unknown>): void {
    const endedFor = this.#endedFor;
    this.#endedFor = undefined;
    if (this.#restarting) {
      this.#restarting = false;
      countRestart(this.name, endedFor ?? "crash");
      this.start();
      return;
    }
    const cause = this.onFailure?.(reason["signal"] === "SIGKILL");
    countRestart(this.name, endedFor ?? cause ?? "crash");
    if (Date.now() - this.startedAt > SETTLED_AFTER_MS) {
      this.#backoffMs = 0;
      this.failures = 0;
    }
    this.failures++;
    const looping = this.failures >= CRASH_LOOP;
    log(looping ? "error" : "warn", looping ? "crash_loop" : "process_ended", {
      process: this.name,
      ...reason,
      restartInMs: this.#backoffMs,
    });
    this.#timer = setTimeout(() => this.start(), this.#backoffMs);
    this.#backoffMs = Math.min(MAX_BACKOFF_MS, Math.max(FIRST_BACKOFF_MS, this.#backoffMs * 2));
  }

  /** Id of the process that runs: in a sandbox, of workerd itself. Undefined while none does. */
  get pid(): number | undefined {
    return this.#pid;
  }

  /** Ends the process at once; it is started again, on account of the reason if there is one. */
  kill(reason?: RestartReason): void {
    this.#endedFor = reason;
    const outer = this.#child?.pid;
    if (outer === undefined) return;
    if (this.#pid === undefined || this.#pid === outer) return signalGroup(outer, "SIGKILL");
    // What watches over it ends with it, once it has cleared it away.
    signalIfThere(this.#pid, "SIGKILL");
    signalGroup(outer, "SIGCONT");
  }

  /** Ends the process at once, for no fault of its own: it is started again without a pause. */
  restart(reason: RestartReason): void {
    this.#restarting = this.#child !== undefined;
    this.kill(reason);
  }

  /** Has the process stand still, with all that it has started, while the work is done. */
  async hold<T>(work: () => Promise<T>): Promise<T> {
    const pid = this.#child?.pid;
    if (pid) signalGroup(pid, "SIGSTOP");
    try {
      return await work();
    } finally {
      if (pid) signalGroup(pid, "SIGCONT");
    }
  }

  /**
   * Ends the process for good: it is asked to, and killed after `graceMs` milliseconds. Resolves
   * when it has ended. Clients that have just connected may be finished with first, see
   * `handOver`. `told` is called once it has been asked.
   */
  async stop(graceMs: number, handsOver = false, told?: () => void): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (!child) return;
    const exited = new Promise((resolve) => child.once("exit", resolve));
    const pid = this.#pid ?? child.pid;
    if (graceMs === 0 || pid === undefined) this.kill();
    else {
      const send = (signal: NodeJS.Signals): void => signalIfThere(pid, signal);
      if (handsOver) await handOver(pid, send);
      send("SIGTERM");
      send("SIGCONT");
      told?.();
    }
    const timer = setTimeout(() => this.kill(), graceMs);
    await exited;
    clearTimeout(timer);
  }
}

/** How a process in a sandbox has ended: what watched over it tells signals as shells do. */
function endInside(code: number | null): Record<string, unknown> {
  const number = (code ?? 0) - 128;
  const signal = Object.entries(constants.signals).find(([, value]) => value === number)?.[0];
  return signal ? { code: null, signal } : { code, signal: null };
}

const signalGroup = (group: number, signal: NodeJS.Signals): void => signalIfThere(-group, signal);

function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
