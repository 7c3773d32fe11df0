import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { MARK_BYTES } from "../pipeline/flight-layout.ts";
import { FlightReader } from "./flight-reader.ts";
import type { Guardian } from "./guardian.ts";
import { HostError } from "./host-error.ts";
import { log } from "./log.ts";
import { ManagedProcess } from "./managed-process.ts";
import { memoryLimits, MemoryWatchdog } from "./memory-watchdog.ts";
import { inDataFolder, type Sockets } from "./paths.ts";
import { Penalties } from "./penalties.ts";
import type { Settings } from "./settings.ts";
import { Watchdog } from "./watchdog.ts";
import { spawnShard } from "./workerd-process.ts";

/**
 * How many shards are to run: those that are set, and those that keep databases since a time when more
 * were set.
 */
export function countShards({ dataFolder, shards }: Settings): number {
  const { shards: folder } = inDataFolder(dataFolder);
  const kept = existsSync(folder) ? readdirSync(folder).filter((name) => /^\d+$/.test(name)) : [];
  return Math.max(shards, ...kept.map(Number));
}

/** The folder of databases, by the key of their objects; see shard.capnp. */
const DATABASES = "mayfly-DatabaseObject";

/** Makes the shards' folders. Databases of the time before there were shards go to the first. */
export function prepareShards(dataFolder: string, count: number): void {
  const { state, shards } = inDataFolder(dataFolder);
  for (let shard = 1; shard <= count; shard++) {
    mkdirSync(join(shards, String(shard)), { recursive: true, mode: 0o700 });
  }
  const from = join(state, "do", DATABASES);
  const to = join(shards, "1", DATABASES);
  if (!existsSync(from)) return;
  if (existsSync(to)) {
    throw new HostError(
      `MAYFLY_DATA: databases are in ${to} and, from an older version of Mayfly that ran after a newer one, in ${from}; move one of the two folders away`,
    );
  }
  renameSync(from, to);
}

// Calls of several statements end in time by themselves; a statement alone cannot be stopped.
const GRACE_MS = 1_000;

/** A process that keeps users' databases, watched. */
export class Shard {
  readonly process: ManagedProcess;
  readonly #watchdog: Watchdog;
  readonly #memory: MemoryWatchdog;
  readonly #penalties = new Penalties();
  #mark = Buffer.alloc(0);

  /** `number` counts from 1. */
  constructor(
    number: number,
    runtimeFolder: string,
    sockets: Sockets,
    settings: Settings,
    guardian: Guardian,
  ) {
    const socket = sockets.shards[number - 1] as string;
    const folder = join(inDataFolder(settings.dataFolder).shards, String(number));
    this.process = new ManagedProcess(`shard-${number}`, guardian, () => {
      this.#mark = randomBytes(MARK_BYTES);
      const flightMark = this.#mark.toString("hex");
      const paused = this.#penalties.paused();
      return spawnShard({ folder, socket, paused, flightMark }, runtimeFolder, sockets, settings);
    });
    this.process.start();
    this.#watchdog = new Watchdog(this.process, socket, settings.queryMs + GRACE_MS, () =>
      this.#blame(),
    );
    this.#memory = new MemoryWatchdog(this.process, memoryLimits(settings), {
      exceeded: () => this.#blame(),
    });
  }

  /** Has it stand still while the work is done. */
  hold<T>(work: () => Promise<T>): Promise<T> {
    return this.#watchdog.hold(() => this.process.hold(work));
  }

  async stop(graceMs: number): Promise<void> {
    this.#watchdog.stop();
    this.#memory.stop();
    await this.process.stop(graceMs);
  }

  /** Finds out which database keeps the process from going on; only one at a time can. */
  async #blame(): Promise<void> {
    const { pid, name } = this.process;
    const reader = pid === undefined ? undefined : await FlightReader.open(pid, this.#mark);
    const [flight] = reader?.read() ?? [];
    reader?.close();
    if (!flight) return;
    const database = flight.scriptId.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
    const pausedMs = this.#penalties.add(database);
    log("warn", "query_stalled", { process: name, database, pausedMs });
  }
}
