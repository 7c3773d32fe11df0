import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { platform } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { MARK_BYTES } from "../pipeline/flight-layout.ts";
import { CpuWatchdog } from "./cpu-watchdog.ts";
import type { Guardian } from "./guardian.ts";
import { HostError } from "./host-error.ts";
import { ManagedProcess } from "./managed-process.ts";
import type { Sockets } from "./paths.ts";
import { Relay } from "./relay.ts";
import type { Settings } from "./settings.ts";
import type { Suspects } from "./suspects.ts";
import { ping, Watchdog } from "./watchdog.ts";
import { spawnExecutor, type ExecutorOptions } from "./workerd-process.ts";

/** Where CPU time cannot be watched: how long an event loop may stand still. */
const LIMIT_MS = 10_000;
const CAN_WATCH_CPU = platform === "linux";
const READY_WITHIN_MS = 15_000;

interface Running {
  process: ManagedProcess;
  watchdog: { stop(): void };
  sockets: ExecutorOptions["own"];
}

/** What all executors are given. */
export interface Surroundings {
  runtimeFolder: string;
  sockets: Sockets;
  settings: Settings;
  guardian: Guardian;
  suspects: Suspects;
}

/** One of the executors: a process that can be replaced by a new one while it serves. */
export class Executor {
  readonly #name: string;
  readonly #serves: ExecutorOptions["serves"];
  readonly #around: Surroundings;
  readonly #relay: Relay;
  #generation = 0;
  #running: Running;

  /** Others find it at the relay of the given address. */
  constructor(
    name: string,
    serves: ExecutorOptions["serves"],
    relayPath: string,
    around: Surroundings,
  ) {
    this.#name = name;
    this.#serves = serves;
    this.#around = around;
    this.#running = this.#start();
    this.#relay = new Relay(relayPath, this.#running.sockets.role);
  }

  get process(): ManagedProcess {
    return this.#running.process;
  }

  /**
   * Starts a new process and, when it serves, ends the old one: it takes no more connections, and what
   * is in flight in it has `drainMs` milliseconds. Throws a `HostError` if the new one does not serve;
   * then the old one goes on.
   */
  async replace(drainMs: number): Promise<void> {
    const old = this.#running;
    const fresh = this.#start();
    const deadline = Date.now() + READY_WITHIN_MS;
    while ((await ping(fresh.sockets.ping, 1_000)) !== "answered") {
      if (Date.now() > deadline) {
        await end(fresh, 0);
        throw new HostError(`${this.#name}: the new process does not answer; the old one goes on`);
      }
      await sleep(25);
    }
    this.#running = fresh;
    this.#relay.switchTo(fresh.sockets.role);
    await end(old, drainMs);
  }

  /** Ends it for good, as `replace` ends the old process. */
  async stop(drainMs: number): Promise<void> {
    this.#relay.close();
    await end(this.#running, drainMs);
  }

  #start(): Running {
    const { runtimeFolder, sockets: all, settings, guardian, suspects } = this.#around;
    const base = join(runtimeFolder, `${this.#name}.${this.#generation++}`);
    const own = { role: `${base}.role`, ping: `${base}.ping`, public: `${base}.http` };
    let mark = Buffer.alloc(0);
    const process = new ManagedProcess(this.#name, guardian, () => {
      // Nobody else can know it, so nothing else in its memory begins with it.
      mark = randomBytes(MARK_BYTES);
      const options = { serves: this.#serves, own, flightMark: mark.toString("hex") };
      return spawnExecutor(options, runtimeFolder, all, settings);
    });
    process.start();
    const watchdog = CAN_WATCH_CPU
      ? new CpuWatchdog(
          process,
          own.ping,
          () => mark,
          settings.cpuMs,
          (flights) => suspects.report(this.#name, flights, "exceededCpu"),
        )
      : new Watchdog(process, own.ping, LIMIT_MS);
    return { process, watchdog, sockets: own };
  }
}

async function end({ process, watchdog, sockets }: Running, drainMs: number): Promise<void> {
  watchdog.stop();
  await process.stop(drainMs);
  for (const path of Object.values(sockets)) rmSync(path, { force: true });
}
