import { type ChildProcess, spawn } from "node:child_process";
import { copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import workerd from "workerd";
import { readCompatibility } from "./compatibility.ts";
import { memoryLimits, MiB } from "./memory-watchdog.ts";
import { BUNDLE, type Sockets } from "./paths.ts";
import { pidInside, type Access, type Sandbox } from "./sandbox.ts";
import type { Settings } from "./settings.ts";

/** Subdomain of the default account. */
export const SUBDOMAIN = "dev";

/**
 * Puts what the processes are started from into the runtime folder, so that all of them run the same
 * bundle however often they are restarted, even if it is built anew meanwhile.
 */
export function writeConfiguration(
  runtimeFolder: string,
  shards: number,
  sandboxed: boolean,
): void {
  copyFileSync(BUNDLE, join(runtimeFolder, "worker.js"));
  for (const file of ["executor.capnp", "quarantine.capnp", "shard.capnp", "egress.capnp"]) {
    const text = readFileSync(join(import.meta.dirname, file), "utf8");
    const fitting = sandboxed ? text : text.replace(/^.*# in a sandbox\n/gm, "");
    writeFileSync(join(runtimeFolder, file), repeatForShards(fitting, shards));
  }
  const executor = readFileSync(join(runtimeFolder, "executor.capnp"), "utf8");
  writeFileSync(join(runtimeFolder, "lane.capnp"), executor.replace(/^.*# not in lanes\n/gm, ""));
  const { date, flags } = readCompatibility();
  const lines = [
    "@0xc6b0d94f3e5a1872;",
    `const date :Text = ${JSON.stringify(date)};`,
    `const flags :List(Text) = ${JSON.stringify(flags)};`,
  ];
  writeFileSync(join(runtimeFolder, "compatibility.capnp"), `${lines.join("\n")}\n`);
}

const repeatForShards = (config: string, shards: number): string =>
  config.replace(/^.*# each shard\n/gm, (line) =>
    Array.from({ length: shards }, (_, index) =>
      line.replaceAll(/(shard-|SHARD_)1/g, `$1${index + 1}`),
    ).join(""),
  );

/** What makes an executor. */
export interface ExecutorOptions {
  /** Descriptor of the public socket, for one that accepts from it; otherwise which lane it is. */
  serves: number | "apart" | "long";
  /** Its own sockets. */
  own: { role: string; ping: string };
  /** How its flight recorder begins: 32 hex digits. */
  flightMark: string;
}

export function spawnExecutor(
  { serves, own, flightMark }: ExecutorOptions,
  runtimeFolder: string,
  sockets: Sockets,
  settings: Settings,
  sandbox?: Sandbox,
): ChildProcess {
  const isLane = typeof serves === "string";
  const inRuntime = (name: string): string => join(runtimeFolder, name);
  const config = inRuntime(isLane ? "lane.capnp" : "executor.capnp");
  const addresses: Addresses = {
    ...(!isLane && { accept: serves }),
    listen: {
      role: `unix:${own.role}`,
      ping: `unix:${own.ping}`,
    },
    call: {
      state: `unix:${sockets.state}`,
      apart: `unix:${sockets.lanes.apart}`,
      long: `unix:${sockets.lanes.long}`,
      ...Object.fromEntries(
        sockets.shards.map((path, index) => [`shard-${index + 1}`, `unix:${path}`]),
      ),
      ...(sandbox && { internet: `unix:${sockets.egress}` }),
    },
    env: {
      MAYFLY_DOMAIN: settings.domain,
      MAYFLY_PORT: String(settings.port),
      MAYFLY_TRUSTED_PROXIES: settings.trustedProxies.join(","),
      MAYFLY_SUBDOMAIN: SUBDOMAIN,
      MAYFLY_API_HOSTS: settings.apiHosts.join(","),
      MAYFLY_LANE: isLane ? serves : "",
      MAYFLY_CPU_MS: String(settings.cpuMs),
      MAYFLY_MAX_CPU_MS: String(settings.maxCpuMs),
      MAYFLY_MEMORY_MB: String(memoryLimits(settings, serves === "apart").soft / MiB),
      MAYFLY_FLIGHT_MARK: flightMark,
      MAYFLY_EGRESS_MARK: sandbox?.egressMark ?? "",
      OTEL_TRACES_EXPORTER: settings.traces ? "otlp" : "none",
      OTEL_TRACES_SAMPLER_ARG: String(settings.traces?.ratio ?? ""),
      OTEL_SERVICE_NAME: settings.traces?.serviceName ?? "",
    },
  };
  if (!sandbox) return spawnWorkerd(config, addresses);
  const files = [config, ...["compatibility.capnp", "worker.js"].map(inRuntime)];
  if (!isLane) files.push(inRuntime("public.capnp"));
  const read = [...files, dirname(sockets.state)];
  return spawnWorkerd(config, addresses, { sandbox, read, write: [dirname(own.role)] });
}

export function spawnQuarantine(
  runtimeFolder: string,
  { quarantine }: Sockets,
  sandbox?: Sandbox,
): ChildProcess {
  const config = join(runtimeFolder, "quarantine.capnp");
  const addresses = { listen: { role: `unix:${quarantine}` }, call: {}, env: {} };
  if (!sandbox) return spawnWorkerd(config, addresses);
  const read = [
    config,
    join(runtimeFolder, "compatibility.capnp"),
    join(runtimeFolder, "worker.js"),
  ];
  return spawnWorkerd(config, addresses, { sandbox, read, write: [dirname(quarantine)] });
}

/** The network of executors that have none. */
export function spawnEgress(
  runtimeFolder: string,
  { egress, egressPing }: Sockets,
  { egressMark }: Sandbox,
): ChildProcess {
  return spawnWorkerd(join(runtimeFolder, "egress.capnp"), {
    listen: { role: `unix:${egress}`, ping: `unix:${egressPing}` },
    call: {},
    env: { MAYFLY_EGRESS_MARK: egressMark },
  });
}

/** What makes a shard. */
export interface ShardOptions {
  /** Where its databases are kept. */
  folder: string;
  socket: string;
  /** Databases that take no SQL for now: until when, by id. */
  paused: Record<string, number>;
  /** How its flight recorder begins: 32 hex digits. */
  flightMark: string;
}

export function spawnShard(
  { folder, socket, paused, flightMark }: ShardOptions,
  runtimeFolder: string,
  sockets: Sockets,
  settings: Settings,
): ChildProcess {
  return spawnWorkerd(join(runtimeFolder, "shard.capnp"), {
    listen: { role: `unix:${socket}` },
    call: { state: `unix:${sockets.state}` },
    keep: { data: folder },
    env: {
      MAYFLY_QUERY_MS: String(settings.queryMs),
      MAYFLY_PAUSED: JSON.stringify(paused),
      MAYFLY_FLIGHT_MARK: flightMark,
    },
  });
}

interface Addresses {
  /** Descriptor of the socket that the configuration calls "public". */
  accept?: number;
  /** Address of each socket of the configuration. */
  listen: Record<string, string>;
  /** Address of each external service of the configuration. */
  call: Record<string, string>;
  /** Folder of each disk service of the configuration. */
  keep?: Record<string, string>;
  /** All that the process finds in its environment. */
  env: Record<string, string>;
}

// The first that is not a standard stream.
const PUBLIC_SOCKET = 3;

function spawnWorkerd(
  config: string,
  { accept, listen, call, keep, env: given }: Addresses,
  within?: Access & { sandbox: Sandbox },
): ChildProcess {
  for (const address of Object.values(listen)) {
    // A process that was killed leaves its sockets behind.
    if (address.startsWith("unix:")) rmSync(address.slice("unix:".length), { force: true });
  }
  const options = [
    ...(accept === undefined ? [] : [`--socket-fd=public=${PUBLIC_SOCKET}`]),
    ...Object.entries(listen).map(([name, address]) => `--socket-addr=${name}=${address}`),
    ...Object.entries(call).map(([name, address]) => `--external-addr=${name}=${address}`),
    ...Object.entries(keep ?? {}).map(([name, path]) => `--directory-path=${name}=${path}`),
  ];
  // The worker loader of open-source workerd is experimental.
  const args = ["serve", "--experimental", ...options, config];
  const env = { TZ: "UTC", ...given };
  const child = within
    ? within.sandbox.spawn(args, within, env, accept ?? "ignore")
    : spawn(workerd.default, args, {
        stdio: ["ignore", 2, 2, ...(accept === undefined ? [] : [accept])],
        detached: true,
        env,
      });
  if (child.pid) endFirst(child.pid);
  void pidInside(child)?.then((pid) => pid !== undefined && endFirst(pid));
  return child;
}

/** Of what the kernel may choose from when the machine has no memory left: 0 is usual, 1000 the most. */
const OOM_SCORE = 500;

/** Has the kernel end the process before state and the supervisor, which nothing can do without. */
function endFirst(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, String(OOM_SCORE));
  } catch {
    // Not Linux, or it has ended.
  }
}
