import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";

/**
 * Sees to it that no process of the platform outlives the supervisor, even one that was killed
 * without a chance to clean up: a tiny process of its own waits for the end of a pipe.
 */
export class Guardian {
  readonly #groups = new Set<number>();
  readonly #runtimeFolder: string;
  #child: ChildProcess | undefined;
  #released = false;

  constructor(runtimeFolder: string) {
    this.#runtimeFolder = runtimeFolder;
    this.#start();
  }

  #start(): void {
    // Detached, so that what is sent to the supervisor's process group does not reach it.
    const child = spawn(
      "/bin/sh",
      [join(import.meta.dirname, "guardian.sh"), this.#runtimeFolder],
      {
        stdio: ["pipe", "ignore", "ignore"],
        detached: true,
      },
    );
    // Writing to one that is gone fails; its successor is told everything again.
    child.stdin.on("error", () => {});
    child.on("exit", () => {
      if (!this.#released) setTimeout(() => this.#start(), 100).unref();
    });
    this.#child = child;
    for (const group of this.#groups) this.#tell("add", group);
  }

  #tell(verb: "add" | "drop", group: number): void {
    this.#child?.stdin?.write(`${verb} ${group}\n`);
  }

  /** Watches over a process group, which is named by the pid of its first process. */
  add(group: number): void {
    this.#groups.add(group);
    this.#tell("add", group);
  }

  /** The processes of the group have ended. */
  drop(group: number): void {
    if (this.#groups.delete(group)) this.#tell("drop", group);
  }

  /** Ends the guardian, which ends what is still running and removes the runtime folder. */
  async release(): Promise<void> {
    this.#released = true;
    const child = this.#child;
    if (!child || child.exitCode !== null) return;
    const exited = new Promise((resolve) => child.once("exit", resolve));
    child.stdin?.end();
    await exited;
  }
}
