import { existsSync, mkdirSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import type { Guardian } from "./guardian.ts";
import { HostError } from "./host-error.ts";
import { ManagedProcess } from "./managed-process.ts";
import { inDataFolder, type Sockets } from "./paths.ts";
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
    this.process = new ManagedProcess(`shard-${number}`, guardian, () =>
      spawnShard(folder, runtimeFolder, socket, sockets, settings),
    );
    this.process.start();
    this.#watchdog = new Watchdog(this.process, socket, settings.queryMs + GRACE_MS);
  }

  /** Has it stand still while the work is done. */
  hold<T>(work: () => Promise<T>): Promise<T> {
    return this.#watchdog.hold(() => this.process.hold(work));
  }

  async stop(graceMs: number): Promise<void> {
    this.#watchdog.stop();
    await this.process.stop(graceMs);
  }
}
