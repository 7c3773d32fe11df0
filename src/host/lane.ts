import { Executor, type Surroundings } from "./executor.ts";
import { log } from "./log.ts";
import type { ManagedProcess } from "./managed-process.ts";
import { Relay } from "./relay.ts";

const LOOK_EVERY_MS = 5_000;
/** A process that nobody has called for so long is ended. */
const IDLE_MS = 60_000;

/**
 * An executor for what must not run with all else. Few have something like that, so its process is there only
 * while executors call it: they wait until it is, and state, which has only changes to tell, is turned away.
 */
export class Lane {
  readonly #executor: Executor;
  readonly #relay: Relay;
  readonly #timer: NodeJS.Timeout;
  #bytes = 0;
  #usedAt = 0;

  constructor(lane: "apart" | "long", around: Surroundings) {
    const { lanes, lanesOfState } = around.sockets;
    this.#relay = new Relay(lanes[lane], () => this.#start());
    const relays = [this.#relay, new Relay(lanesOfState[lane])];
    this.#executor = new Executor(`executor-${lane}`, lane, relays, around);
    this.#timer = setInterval(() => this.#look(around.settings.drainMs), LOOK_EVERY_MS);
    this.#timer.unref();
  }

  /** Undefined while there is none. */
  get process(): ManagedProcess | undefined {
    return this.#executor.process;
  }

  #start(): void {
    try {
      this.#executor.start();
    } catch (error) {
      // On a full disk, say; the next call tries again.
      log("error", "start_failed", { message: (error as Error).message });
    }
  }

  #look(drainMs: number): void {
    const now = Date.now();
    const { bytes } = this.#relay;
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#usedAt = now;
    }
    if (!this.process || now - this.#usedAt < IDLE_MS || this.#executor.isBusy) return;
    log("info", "process_idle", { process: this.process.name, pid: this.process.pid });
    void this.#executor.rest(drainMs);
  }

  async stop(drainMs: number): Promise<void> {
    clearInterval(this.#timer);
    await this.#executor.stop(drainMs);
  }
}
