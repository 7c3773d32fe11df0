import { mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** The folder of the checkout. */
export const ROOT = dirname(dirname(import.meta.dirname));

/** The platform Worker, made by `npm run build`. */
export const BUNDLE = join(ROOT, "dist/worker.js");

/** What the data folder holds. */
export const inDataFolder = (folder: string) => ({
  /** Account id, root token, key of secrets; see `credentials.ts`. */
  credentials: join(folder, "credentials.json"),
  /** Locked while a supervisor uses the folder; see `data-lock.ts`. */
  lock: join(folder, "lock"),
  /** Address of the API at the last start, for `mayfly env`. */
  api: join(folder, "api"),
  /** Where the supervisor listens for commands, while it runs. */
  control: join(folder, "control"),
  /** Everything the state process keeps. */
  state: join(folder, "state"),
  /** A folder for each shard, named by its number: users' databases. */
  shards: join(folder, "shards"),
});

// Addresses of Unix sockets hold 108 bytes on Linux and 104 on macOS, with a final zero.
const MAX_SOCKET_PATH_BYTES = 103;
const LONGEST_SOCKET_NAME = "executor-apart.9999/role";

/**
 * Makes the folder of the processes' sockets and configuration. Only its owner may enter it: who can
 * open a socket there is a peer of the platform's processes.
 */
export function makeRuntimeFolder(): string {
  const suffix = join("mayfly-XXXXXX", LONGEST_SOCKET_NAME);
  const fits = Buffer.byteLength(join(tmpdir(), suffix)) <= MAX_SOCKET_PATH_BYTES;
  return mkdtempSync(join(fits ? tmpdir() : "/tmp", "mayfly-"));
}

/** Makes what holds sockets in the runtime folder; executors' own are made with each process. */
export function makeSocketFolders(sockets: Sockets): void {
  for (const path of [sockets.state, sockets.quarantine]) mkdirSync(dirname(path));
}

/**
 * The Unix sockets in the runtime folder; Miniflare appends `:0` to the names of its own. What executors
 * call is in a folder of its own, the only one that they can see in a sandbox beside that of their own
 * sockets, which is new with each process.
 */
export const socketsIn = (folder: string, executors: number, shards: number) => ({
  state: join(folder, "called", "state:0"),
  statePing: join(folder, "state-ping:0"),
  /** Where state finds each executor: a relay to whatever process it is at the moment. */
  executors: Array.from({ length: executors }, (_, index) => join(folder, `executor-${index + 1}`)),
  /** Where executors find the lanes, likewise, and state those that run. */
  lanes: {
    apart: join(folder, "called", "executor-apart"),
    long: join(folder, "called", "executor-long"),
  },
  lanesOfState: { apart: join(folder, "executor-apart"), long: join(folder, "executor-long") },
  /** Of each shard, for its role and for pings. */
  shards: Array.from({ length: shards }, (_, index) =>
    join(folder, "called", `shard-${index + 1}`),
  ),
  quarantine: join(folder, "quarantine", "role"),
  /** Where executors in a sandbox find the network, and where its health is asked for. */
  egress: join(folder, "called", "egress"),
  egressPing: join(folder, "egress-ping"),
});
export type Sockets = ReturnType<typeof socketsIn>;
