import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { cpuSecondsOfAll } from "./cpu-time.ts";
import { log } from "./log.ts";
import type { ManagedProcess } from "./managed-process.ts";

const INTERVAL_MS = 250;
/** One that does nothing is asked less often. */
const IDLE_INTERVAL_MS = 1_000;
/** What a process may take to give its first answer. */
const START_MS = 15_000;

/** `refused`: the socket is there but nobody listens any more. */
export type PingResult = "answered" | "silent" | "refused";

/** Asks a process for its health over a Unix socket; any answer will do. */
export function ping(socketPath: string, timeoutMs: number): Promise<PingResult> {
  return new Promise((resolve) => {
    const req = request(
      { socketPath, path: "/_mayfly/health", headers: { host: "localhost" }, agent: false },
      (res) => {
        res.resume();
        resolve("answered");
      },
    );
    const timer = setTimeout(() => req.destroy(), timeoutMs);
    req.on("error", ({ code }: NodeJS.ErrnoException) =>
      resolve(code === "ECONNREFUSED" ? "refused" : "silent"),
    );
    req.on("close", () => {
      clearTimeout(timer);
      resolve("silent");
    });
    req.end();
  });
}

/**
 * Replaces a process that cannot do its work any more: pings it four times a second, or once if it does nothing
 * but answer, and kills it when its event loop has stood still for `limitMs` milliseconds, or when nobody listens on its socket
 * although the process lives (Miniflare without its runtime).
 */
export class Watchdog {
  readonly #process: ManagedProcess;
  readonly #socketPath: string;
  readonly #limitMs: number;
  readonly #startMs: number;
  readonly #stalled: () => Promise<void>;
  #stopped = false;
  #held = false;

  /** `stalled` is called before the process is killed: its memory can still be read then. */
  constructor(
    process: ManagedProcess,
    socketPath: string,
    limitMs: number,
    stalled: () => Promise<void> = async () => undefined,
  ) {
    this.#process = process;
    this.#socketPath = socketPath;
    this.#limitMs = limitMs;
    this.#startMs = Math.max(START_MS, limitMs);
    this.#stalled = stalled;
    void this.#run();
  }

  async #run(): Promise<void> {
    let startedAt: number | undefined;
    let deadline = 0;
    let refusals = 0;
    while (!this.#stopped) {
      if (this.#process.startedAt !== startedAt) {
        startedAt = this.#process.startedAt;
        deadline = performance.now() + this.#startMs;
        refusals = 0;
      }
      const begun = performance.now();
      const held = this.#held;
      const result = await ping(this.#socketPath, this.#limitMs);
      await this.#pause(result === "answered");
      const now = performance.now();
      // A slow round says that this process was not running either (a machine that sleeps or is
      // overloaded), and so nothing about the other.
      const late = held || this.#held || now - begun > this.#limitMs + 4 * INTERVAL_MS;
      if (result === "answered" || late) deadline = now + this.#limitMs;
      // One refusal may come from a process that is about to listen.
      refusals = result === "refused" ? refusals + 1 : 0;
      const lost = now >= deadline || refusals === 2;
      if (!lost || this.#stopped || this.#process.startedAt !== startedAt) continue;
      log("warn", "process_stalled", { process: this.#process.name, ping: result });
      await this.#stalled();
      this.#process.kill("stalled");
      deadline = performance.now() + this.#startMs;
    }
  }

  async #pause(answered: boolean): Promise<void> {
    const cpu = this.#cpuSeconds();
    for (let waitedMs = 0; waitedMs < IDLE_INTERVAL_MS; waitedMs += INTERVAL_MS) {
      await sleep(INTERVAL_MS, undefined, { ref: false });
      if (!answered || cpu === undefined || cpu !== this.#cpuSeconds()) return;
    }
  }

  #cpuSeconds(): number | undefined {
    const { pid } = this.#process;
    return pid === undefined ? undefined : cpuSecondsOfAll(pid);
  }

  /** Does not mind that the process stands still while the work is done. */
  async hold<T>(work: () => Promise<T>): Promise<T> {
    this.#held = true;
    try {
      return await work();
    } finally {
      this.#held = false;
    }
  }

  stop(): void {
    this.#stopped = true;
  }
}
