// The state process: Node with Miniflare, whose simulators of KV, R2, D1 and Durable Objects keep the
// platform's data. It lives as long as the channel to the supervisor.
import { dirname, join } from "node:path";
import { convertV4MiniflareOptions, Miniflare, Response } from "miniflare";
import { log } from "./log.ts";
import type { StateOptions } from "./state-options.ts";
import { storedBytes } from "./stored-bytes.ts";

/** An entrypoint listening on a Unix socket; Miniflare insists on a port and appends it. */
const listen = (socketPath: string, entrypoint: string) => ({
  host: `unix:${socketPath.replace(/:0$/, "")}`,
  port: 0,
  entrypoint,
});

/** A role that another process plays. Miniflare puts in the connect host that its own sockets have. */
const external = (socketPath: string) => ({
  external: { address: `unix:${socketPath}`, http: {} },
});

function start(options: StateOptions): Miniflare {
  const { sockets, compatibility } = options;
  return new Miniflare(
    convertV4MiniflareOptions({
      // Miniflare cannot do without a TCP port. This one leads to a worker that serves nothing.
      host: "127.0.0.1",
      port: 0,
      cf: false,
      telemetry: { enabled: false },
      resourcePersistencePath: options.dataFolder,
      handleStructuredLogs: ({ message }) => process.stderr.write(`${message}\n`),
      workers: [
        {
          name: "entry",
          modules: true,
          modulesRoot: import.meta.dirname,
          scriptPath: join(import.meta.dirname, "closed-entry.js"),
          compatibilityDate: compatibility.date,
        },
        {
          name: "mayfly",
          modules: true,
          modulesRoot: dirname(options.bundle),
          scriptPath: options.bundle,
          compatibilityDate: compatibility.date,
          compatibilityFlags: compatibility.flags,
          bindings: options.vars,
          d1Databases: { CATALOG: "catalog" },
          kvNamespaces: { KV: "kv" },
          r2Buckets: { BUCKET: "bucket" },
          durableObjects: {
            QUEUES: { className: "QueueObject", useSQLite: true },
            SCHEDULER: { className: "SchedulerObject", useSQLite: true },
            LOGS: { className: "LogsObject", useSQLite: true },
            TAILS: { className: "TailObject", useSQLite: true },
            BUDGETS: { className: "BudgetObject", useSQLite: true },
            BUCKETS: { className: "BucketObject", useSQLite: true },
          },
          serviceBindings: {
            ...Object.fromEntries([
              ...sockets.executors.map((path, index) => [`EXECUTOR_${index + 1}`, external(path)]),
              ...sockets.shards.map((path, index) => [`SHARD_${index + 1}`, external(path)]),
            ]),
            EXECUTOR_APART: external(sockets.lanesOfState.apart),
            EXECUTOR_LONG: external(sockets.lanesOfState.long),
            QUARANTINE: external(sockets.quarantine),
            STORED: async () => Response.json(await storedBytes(options.dataFolder)),
          },
          unsafeDirectSockets: [
            listen(sockets.state, "State"),
            listen(sockets.statePing, "default"),
          ],
        },
      ],
    }),
  );
}

let miniflare: Miniflare | undefined;

async function stop(): Promise<void> {
  await miniflare?.dispose();
  process.exit(0);
}

process.once("message", (options) => {
  miniflare = start(options as StateOptions);
  // Miniflare's own handlers would end this process before its runtime has ended.
  process.removeAllListeners("SIGTERM").once("SIGTERM", stop);
  miniflare.ready.catch((error: Error) => {
    log("error", "state_failed", { message: error.message });
    process.exit(1);
  });
});
process.once("disconnect", stop);
