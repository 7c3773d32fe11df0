import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const INTERVAL_MS = 250;
/** What a process may take to give its first answer. */
const START_MS = 15_000;

/** Asks for one path over a Unix socket. Resolves to the status, or undefined without an answer. */
export function ping(socketPath: string, timeoutMs: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const req = request(
      { socketPath, path: "/_mayfly/health", headers: { host: "localhost" }, agent: false },
      (res) => {
        res.resume();
        resolve(res.statusCode);
      },
    );
    const timer = setTimeout(() => req.destroy(), timeoutMs);
    req.on("close", () => {
      clearTimeout(timer);
      resolve(undefined);
    });
    req.on("error", () => resolve(undefined));
    req.end();
  });
}

/**
 * Finds out when a process's event loop stands still: pings it four times a second and calls
 * `onStall` when it has not answered for `limitMs` milliseconds. Any answer will do.
 */
export class Watchdog {
  readonly #socketPath: string;
  readonly #limitMs: number;
  readonly #onStall: () => void;
  #running = true;

  constructor(socketPath: string, limitMs: number, onStall: () => void) {
    this.#socketPath = socketPath;
    this.#limitMs = limitMs;
    this.#onStall = onStall;
    void this.#run();
  }

  async #run(): Promise<void> {
    let deadline = performance.now() + START_MS;
    while (this.#running) {
      const begun = performance.now();
      const status = await ping(this.#socketPath, this.#limitMs);
      await sleep(INTERVAL_MS, undefined, { ref: false });
      const now = performance.now();
      if (status !== undefined) deadline = now + this.#limitMs;
      // This process was not running either (a sleeping or overloaded machine): that proves nothing.
      else if (now - begun > this.#limitMs + 4 * INTERVAL_MS) deadline = now + this.#limitMs;
      else if (now >= deadline && this.#running) {
        this.#onStall();
        deadline = now + START_MS;
      }
    }
  }

  stop(): void {
    this.#running = false;
  }
}
