import { randomBytes } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { platform } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { MARK_BYTES } from "../pipeline/flight-layout.ts";
import { beginClosing } from "./closing.ts";
import { CpuClock } from "./cpu-clock.ts";
import { CpuWatchdog } from "./cpu-watchdog.ts";
import type { Guardian } from "./guardian.ts";
import { HostError } from "./host-error.ts";
import { log } from "./log.ts";
import { ManagedProcess } from "./managed-process.ts";
import { memoryLimits, MemoryWatchdog } from "./memory-watchdog.ts";
import type { Sockets } from "./paths.ts";
import type { Relay } from "./relay.ts";
import { countRestart } from "./restarts.ts";
import type { Sandbox } from "./sandbox.ts";
import type { Settings } from "./settings.ts";
import type { Suspects } from "./suspects.ts";
import { ping, Watchdog } from "./watchdog.ts";
import { spawnExecutor, type ExecutorOptions } from "./workerd-process.ts";

/** Where CPU time and memory cannot be watched: how long an event loop may stand still. */
const LIMIT_MS = 10_000;
const CAN_WATCH = platform === "linux";
const READY_WITHIN_MS = 15_000;
/** A process is not replaced because of its memory more often than this. */
const REPLACE_EVERY_MS = 30_000;

interface Running {
  process: ManagedProcess;
  watchdog: { stop(): void };
  clock: CpuClock | undefined;
  memory: MemoryWatchdog | undefined;
  sockets: ExecutorOptions["own"];
  /** How its flight recorder begins. */
  flightMark: () => string;
}

/** What all executors are given. */
export interface Surroundings {
  runtimeFolder: string;
  sockets: Sockets;
  settings: Settings;
  guardian: Guardian;
  suspects: Suspects;
  sandbox: Sandbox | undefined;
  /** Whether the public socket's clients are accepted only once they have sent something. */
  defersAccept: boolean;
}

/** One of the executors: a process, once it is started, that can be replaced by a new one while it serves. */
export class Executor {
  readonly #name: string;
  readonly #serves: ExecutorOptions["serves"];
  readonly #around: Surroundings;
  readonly #relays: Relay[];
  #generation = 0;
  /** One replacement after the other. */
  #replacing = Promise.resolve();
  #stopped = false;
  /** When it was last replaced because of its memory. */
  #replacedAt = 0;
  #running: Running | undefined;

  /** Others call it through the relays. */
  constructor(
    name: string,
    serves: ExecutorOptions["serves"],
    relays: Relay[],
    around: Surroundings,
  ) {
    this.#name = name;
    this.#serves = serves;
    this.#around = around;
    this.#relays = relays;
  }

  /** Undefined while it has not been started. */
  get process(): ManagedProcess | undefined {
    return this.#running?.process;
  }

  /** Whether something is in flight in it; also if that cannot be seen. */
  get isBusy(): boolean {
    const watchdog = this.#running?.watchdog;
    const reader = watchdog instanceof CpuWatchdog ? watchdog.reader : undefined;
    return !reader || reader.read().some(({ lingers }) => !lingers);
  }

  /** Starts its process unless there is one. */
  start(): void {
    if (!this.#running && !this.#stopped) this.#run(this.#spawn());
  }

  #run(running: Running | undefined): void {
    this.#running = running;
    for (const relay of this.#relays) relay.switchTo(running?.sockets.role);
  }

  /**
   * Starts a new process and, when it serves, ends the old one: it takes no more connections, and what
   * is in flight in it has `drainMs` milliseconds. Throws a `HostError` if the new one does not serve;
   * then the old one goes on.
   */
  replace(drainMs: number): Promise<void> {
    const replaced = this.#replacing.then(() => this.#replace(drainMs));
    this.#replacing = replaced.catch(() => undefined);
    return replaced;
  }

  async #replace(drainMs: number): Promise<void> {
    const old = this.#running;
    if (!old) return;
    const fresh = this.#spawn();
    const deadline = Date.now() + READY_WITHIN_MS;
    while ((await ping(fresh.sockets.ping, 1_000)) !== "answered") {
      if (this.#running !== old) return end(fresh, 0);
      if (Date.now() > deadline) {
        await end(fresh, 0);
        throw new HostError(`${this.#name}: the new process does not answer; the old one goes on`);
      }
      await sleep(25);
    }
    if (this.#running !== old) return end(fresh, 0);
    this.#run(fresh);
    countRestart(this.#name, "replaced");
    const { settings, defersAccept } = this.#around;
    // What has been accepted has sent its request then, or at least began to; but not if it shakes hands first.
    await end(old, drainMs, settings.tls !== undefined || !defersAccept);
  }

  /** Ends its process until it is started again. What is in flight in it has `drainMs` milliseconds. */
  async rest(drainMs: number): Promise<void> {
    const running = this.#running;
    this.#run(undefined);
    if (running) await end(running, drainMs);
  }

  /** Ends it for good, likewise. */
  async stop(drainMs: number): Promise<void> {
    this.#stopped = true;
    for (const relay of this.#relays) relay.close();
    await Promise.all([this.rest(drainMs), this.#replacing]);
  }

  /** Has more memory than it should, which a new process does not have. */
  #outgrown(process: ManagedProcess): void {
    const { settings } = this.#around;
    const now = Date.now();
    if (process !== this.process || now - this.#replacedAt < REPLACE_EVERY_MS) return;
    this.#replacedAt = now;
    log("info", "memory_outgrown", { process: this.#name, pid: process.pid });
    this.replace(settings.drainMs).catch((error: Error) =>
      log("error", "replace_failed", { process: this.#name, message: error.message }),
    );
  }

  #spawn(): Running {
    const { runtimeFolder, sockets: all, settings, guardian, suspects, sandbox } = this.#around;
    const folder = join(runtimeFolder, `${this.#name}.${this.#generation++}`);
    mkdirSync(folder);
    const own = { role: join(folder, "role"), ping: join(folder, "ping") };
    let mark = Buffer.alloc(0);
    const process = new ManagedProcess(this.#name, guardian, () => {
      // Nobody else can know it, so nothing else in its memory begins with it.
      mark = randomBytes(MARK_BYTES);
      const options = { serves: this.#serves, own, flightMark: mark.toString("hex") };
      return spawnExecutor(options, runtimeFolder, all, settings, sandbox);
    });
    process.start();
    const flightMark = (): string => mark.toString("hex");
    if (!CAN_WATCH) {
      const watchdog = new Watchdog(process, own.ping, LIMIT_MS);
      return {
        process,
        watchdog,
        clock: undefined,
        memory: undefined,
        sockets: own,
        flightMark,
      };
    }
    const watchdog: CpuWatchdog = new CpuWatchdog(
      process,
      own.ping,
      () => mark,
      settings.cpuMs,
      // The engine stands still, too, when an isolate has all the memory that it gives to one.
      async (flights) => {
        const isMemory = memory.isHigh;
        await suspects.report(this.#name, flights, isMemory ? "exceededMemory" : "exceededCpu");
        return isMemory ? "memory" : "cpu";
      },
    );
    const memory: MemoryWatchdog = new MemoryWatchdog(
      process,
      memoryLimits(settings, this.#serves === "apart"),
      {
        outgrown: () => this.#outgrown(process),
        exceeded: (flights) => suspects.report(this.#name, flights, "exceededMemory"),
      },
      watchdog,
    );
    const clock = new CpuClock(
      () => process.pid,
      () => watchdog.reader,
    );
    return { process, watchdog, clock, memory, sockets: own, flightMark };
  }
}

async function end(running: Running, drainMs: number, handsOver = false): Promise<void> {
  const { process, watchdog, clock, memory, sockets, flightMark } = running;
  if (watchdog instanceof CpuWatchdog) watchdog.rest();
  else watchdog.stop();
  // What is killed at once does nothing any more.
  const closing = drainMs > 0 ? await beginClosing(sockets.ping, flightMark()) : undefined;
  await process.stop(drainMs, handsOver, () => closing?.told());
  // What it finishes may still eat memory.
  memory?.stop();
  clock?.stop();
  watchdog.stop();
  rmSync(dirname(sockets.role), { recursive: true, force: true });
}
