import { type ChildProcess, spawn, type StdioOptions } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startPlatform, type Platform, type PlatformOptions } from "../../test/harness/platform.ts";
import { childrenOf, isAlive } from "../../test/harness/processes.ts";
import { Connection } from "./connection.ts";

const READY_WITHIN_MS = 60_000;
const POLL_MS = 5;
const END_WITHIN_MS = 5_000;

/** Something that answers one request, again and again. */
export interface Target {
  port: number;
  request: Buffer;
}

export interface SpawnOptions {
  /** Added to the bench's own. */
  env?: Record<string, string>;
  /** Descriptors that the process gets behind its standard streams. */
  descriptors?: number[];
}

/** What one measurement starts. It ends with the block that it is declared in, processes and files. */
export class Stage implements AsyncDisposable {
  /** Where its processes run. */
  readonly folder = mkdtempSync(join(tmpdir(), "mayfly-bench-"));
  readonly #stops: (() => void | Promise<void>)[] = [];
  readonly #log = join(this.folder, "log");
  readonly #children: ChildProcess[] = [];
  readonly #onExit = (): void => {
    for (const child of this.#children) child.kill();
    rmSync(this.folder, { recursive: true, force: true });
  };

  constructor() {
    process.once("exit", this.#onExit);
  }

  /** Has something done at the end, before all that was started or deferred earlier is ended. */
  defer(stop: () => void | Promise<void>): void {
    this.#stops.push(stop);
  }

  async platform(options: PlatformOptions): Promise<Platform> {
    const platform = await startPlatform(options);
    this.defer(() => platform.stop());
    return platform;
  }

  spawn(command: string, args: string[], { env, descriptors = [] }: SpawnOptions = {}): number {
    const log = openSync(this.#log, "a");
    const stdio: StdioOptions = ["ignore", log, log, ...descriptors];
    const child = spawn(command, args, {
      cwd: this.folder,
      stdio,
      env: { ...process.env, ...env },
    });
    closeSync(log);
    const { pid } = child;
    if (pid === undefined) throw new Error(`${command} cannot be started`);
    this.#children.push(child);
    this.defer(() => end(child, pid));
    return pid;
  }

  /** Waits for the first answer. Throws what the processes have printed if there is none. */
  async untilAnswered({ port, request }: Target): Promise<void> {
    const deadline = Date.now() + READY_WITHIN_MS;
    for (;;) {
      try {
        const connection = await Connection.open(port);
        await connection.request(request).finally(() => connection.close());
        return;
      } catch (error) {
        if (Date.now() > deadline) throw new Error(this.#printed(), { cause: error });
        await sleep(POLL_MS);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const stop of this.#stops.toReversed()) await stop();
    process.off("exit", this.#onExit);
    this.#onExit();
  }

  #printed(): string {
    try {
      return `It does not answer:\n${readFileSync(this.#log, "utf8").slice(-2_000)}`;
    } catch {
      return "It does not answer";
    }
  }
}

// Some start further processes, and not all of these go with them.
async function end(child: ChildProcess, pid: number): Promise<void> {
  const pids = [pid, ...descendantsOf(pid)];
  child.kill();
  const deadline = Date.now() + END_WITHIN_MS;
  while (pids.some(isAlive)) {
    if (Date.now() > deadline) {
      for (const left of pids.filter(isAlive)) process.kill(left, "SIGKILL");
      return;
    }
    await sleep(10);
  }
}

function descendantsOf(pid: number): number[] {
  if (process.platform !== "linux" || !isAlive(pid)) return [];
  const children = childrenOf(pid);
  return [...children, ...children.flatMap(descendantsOf)];
}
