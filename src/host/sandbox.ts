import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { accessSync, closeSync, constants, openSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { arch, platform } from "node:process";
import type { Readable } from "node:stream";
import workerd from "workerd";
import { HostError } from "./host-error.ts";
import { log } from "./log.ts";
import { seccompFilter } from "./seccomp.ts";
import type { Settings } from "./settings.ts";

/** What a process may use of the file system. */
export interface Access {
  /** Files and folders that it may read; sockets in them may be connected to. */
  read: string[];
  /** Folders in which it may do anything. */
  write: string[];
}

// Descriptors that bubblewrap is given, behind that of the public socket.
const INFO = 4;
const FILTER = 5;
const CONFINED = [
  // In a user namespace without any privilege, in which no further one can be made.
  "--unshare-user",
  "--disable-userns",
  "--cap-drop",
  "ALL",
  // No network but a loopback of its own.
  "--unshare-net",
  // workerd is the first process of its namespace: nothing else is in it, nothing survives it.
  "--unshare-pid",
  "--as-pid-1",
  "--die-with-parent",
  "--unshare-ipc",
  "--unshare-uts",
  "--unshare-cgroup-try",
  "--chdir",
  "/",
  "--info-fd",
  String(INFO),
];
const PROBE_TIMEOUT_MS = 10_000;

/**
 * Runs workerd under bubblewrap: in namespaces of its own, so without network, other processes and all
 * files that it is not given, without privileges and without a way to get any.
 */
export class Sandbox {
  readonly #program: string;
  readonly #libraries: string[];
  readonly #filterPath: string;
  /** What executors and the egress process know of each other: 32 hex digits. */
  readonly egressMark = randomBytes(16).toString("hex");

  /** Throws an `Error` that says what is missing. */
  constructor(runtimeFolder: string) {
    if (platform !== "linux") throw new Error("it needs Linux");
    this.#program = findProgram("bwrap");
    this.#libraries = librariesOf(workerd.default);
    this.#filterPath = join(runtimeFolder, "seccomp");
    writeFileSync(this.#filterPath, seccompFilter(arch) ?? "");
    this.#probe();
  }

  /** Starts workerd. `publicSocket` becomes descriptor 3. */
  spawn(
    args: string[],
    access: Access,
    env: Record<string, string>,
    publicSocket: number | "ignore",
  ): ChildProcess {
    return this.#withFilter((filter) =>
      spawn(this.#program, this.#arguments(args, access), {
        stdio: ["ignore", 2, 2, publicSocket, "pipe", filter],
        detached: true,
        env,
      }),
    );
  }

  #probe(): void {
    const { error, status, stderr } = this.#withFilter((filter) =>
      spawnSync(this.#program, this.#arguments(["--version"], { read: [], write: [] }), {
        stdio: ["ignore", "ignore", "pipe", "ignore", "pipe", filter],
        timeout: PROBE_TIMEOUT_MS,
        encoding: "utf8",
      }),
    );
    if (error) throw error;
    if (status !== 0) throw new Error(stderr.trim() || `exit code ${status}`);
  }

  #withFilter<T>(use: (filter: number) => T): T {
    const filter = openSync(this.#filterPath, "r");
    try {
      return use(filter);
    } finally {
      closeSync(filter);
    }
  }

  #arguments(args: string[], { read, write }: Access): string[] {
    const readable = [workerd.default, ...this.#libraries, ...read];
    return [
      ...CONFINED,
      ...(seccompFilter(arch) ? ["--seccomp", String(FILTER)] : []),
      ...readable.flatMap((path) => ["--ro-bind", path, path]),
      ...write.flatMap((path) => ["--bind", path, path]),
      // All that workerd wants to know of itself.
      "--symlink",
      workerd.default,
      "/proc/self/exe",
      "--remount-ro",
      "/",
      "--",
      workerd.default,
      ...args,
    ];
  }
}

/** Of a process that `Sandbox.spawn` started: the id of workerd itself, which bubblewrap tells. */
export function pidInside(child: ChildProcess): Promise<number | undefined> | undefined {
  const info = child.stdio[INFO] as Readable | null | undefined;
  if (!info) return undefined;
  let text = "";
  return new Promise((resolve) => {
    info.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
    info.on("error", () => resolve(undefined));
    info.once("close", () => {
      const pid = /"child-pid": (\d+)/.exec(text)?.[1];
      resolve(pid === undefined ? undefined : Number(pid));
    });
  });
}

/** The sandbox if there is to be one. Throws a `HostError` if it must be there and does not work. */
export function openSandbox({ sandbox }: Settings, runtimeFolder: string): Sandbox | undefined {
  if (sandbox === "off") {
    log("info", "no_sandbox", { reason: "MAYFLY_SANDBOX is off" });
    return undefined;
  }
  try {
    const opened = new Sandbox(runtimeFolder);
    log("info", "sandbox", { with: "bubblewrap", seccomp: seccompFilter(arch) !== undefined });
    return opened;
  } catch (error) {
    const reason = (error as Error).message;
    if (sandbox === "on") {
      throw new HostError(`MAYFLY_SANDBOX: is on, but the sandbox does not work: ${reason}`);
    }
    log("warn", "no_sandbox", { reason });
    return undefined;
  }
}

function findProgram(name: string): string {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // In another folder.
    }
  }
  throw new Error(`bubblewrap is not installed: no ${name} on the PATH`);
}

/** The libraries that a program is linked with, and what loads them, as `ldd` lists them. */
function librariesOf(program: string): string[] {
  const list = execFileSync("ldd", [program], { encoding: "utf8" });
  return list.match(/(?<=\s)\/\S+(?= \()/g) ?? [];
}
