import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Guardian } from "./guardian.ts";
import { FlightReader } from "./flight-reader.ts";
import { log } from "./log.ts";
import { HostError } from "./host-error.ts";
import { ManagedProcess } from "./managed-process.ts";
import type { Sockets } from "./paths.ts";
import { Relay } from "./relay.ts";
import type { Settings } from "./settings.ts";
import { ping, Watchdog } from "./watchdog.ts";
import { spawnExecutor } from "./workerd-process.ts";

/** How long its event loop may stand still: it may be busy with honest work. */
const LIMIT_MS = 10_000;
const READY_WITHIN_MS = 15_000;

interface Running {
  process: ManagedProcess;
  watchdog: Watchdog;
  sockets: { role: string; ping: string };
}

/** One of the executors: a process that can be replaced by a new one while it serves. */
export class Executor {
  readonly #name: string;
  readonly #runtimeFolder: string;
  readonly #guardian: Guardian;
  readonly #relay: Relay;
  readonly #spawn: (sockets: Running["sockets"]) => ReturnType<typeof spawnExecutor>;
  #generation = 0;
  #running: Running;

  /** `index` counts from 0; `publicSocket` is the descriptor that it accepts from. */
  constructor(
    index: number,
    publicSocket: number,
    runtimeFolder: string,
    sockets: Sockets,
    settings: Settings,
    guardian: Guardian,
  ) {
    this.#name = `executor-${index + 1}`;
    this.#runtimeFolder = runtimeFolder;
    this.#guardian = guardian;
    this.#spawn = (own) => spawnExecutor(publicSocket, runtimeFolder, own, sockets, settings);
    this.#running = this.#start();
    this.#relay = new Relay(sockets.executors[index] as string, this.#running.sockets.role);
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
    const base = join(this.#runtimeFolder, `${this.#name}.${this.#generation++}`);
    const sockets = { role: `${base}.role`, ping: `${base}.ping` };
    const process = new ManagedProcess(this.#name, this.#guardian, () => this.#spawn(sockets));
    process.start();
    let reader: { pid: number; found: FlightReader | undefined } | undefined;
    const timer = setInterval(async () => { const pid = process.pid; if (pid && reader?.pid !== pid) { reader = { pid, found: undefined }; const t=Date.now(); await sleep(2000); reader.found = await FlightReader.open(pid); log("info","flight_reader",{found: !!reader.found, ms: Date.now()-t-2000}); } }, 500); timer.unref();
    const watchdog = new Watchdog(process, sockets.ping, LIMIT_MS, () => log("warn", "suspects", { flights: reader?.found?.read() }));
    return { process, watchdog, sockets };
  }
}

async function end({ process, watchdog, sockets }: Running, drainMs: number): Promise<void> {
  watchdog.stop();
  await process.stop(drainMs);
  for (const path of Object.values(sockets)) rmSync(path, { force: true });
}
