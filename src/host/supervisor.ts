import { fork } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { platform } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { backUp } from "./backup.ts";
import { readCompatibility } from "./compatibility.ts";
import { openControlSocket } from "./control-socket.ts";
import { openCredentials } from "./credentials.ts";
import { lockData } from "./data-lock.ts";
import { Executor } from "./executor.ts";
import { Guardian } from "./guardian.ts";
import { HostError } from "./host-error.ts";
import { Lane } from "./lane.ts";
import { ManagedProcess } from "./managed-process.ts";
import { memoryLimits, MemoryWatchdog } from "./memory-watchdog.ts";
import {
  BUNDLE,
  inDataFolder,
  makeRuntimeFolder,
  makeSocketFolders,
  socketsIn,
  type Sockets,
} from "./paths.ts";
import { ProcessReport } from "./process-report.ts";
import { askPublicSocket, openPublicSocket } from "./public-socket.ts";
import { Relay } from "./relay.ts";
import { openSandbox, type Sandbox } from "./sandbox.ts";
import { apiAddress, type Settings } from "./settings.ts";
import { countShards, prepareShards, Shard } from "./shards.ts";
import type { StateOptions } from "./state-options.ts";
import { Suspects } from "./suspects.ts";
import { tellStateAt } from "./tell-state.ts";
import { openCertificate, type Certificate } from "./tls.ts";
import { ping, Watchdog } from "./watchdog.ts";
import { spawnEgress, spawnQuarantine, SUBDOMAIN, writeConfiguration } from "./workerd-process.ts";

// How long an event loop may stand still before its process is replaced. A version has one second
// for its start, so quarantine must not give it much more.
const QUARANTINE_LIMIT_MS = 1_500;
const EGRESS_LIMIT_MS = 5_000;
const STATE_LIMIT_MS = 15_000;

const READY_WITHIN_MS = 60_000;
const STATE_STOP_MS = 5_000;
/** Nothing is passed on to them any more: they only report. */
const LANE_STOP_MS = 2_000;
/** A process that fails so often before the platform has ever been ready will not do better. */
const MAX_FAILURES_AT_START = 4;

/** A running platform. */
export interface Platform {
  /** Whether users' code runs in a sandbox. */
  sandboxed: boolean;
  /** Finishes what is in flight and ends all processes. */
  stop(): Promise<void>;
}

/** Starts the platform's processes and resolves when they serve. Throws a `HostError` otherwise. */
export async function startPlatform(settings: Settings): Promise<Platform> {
  if (!existsSync(BUNDLE)) throw new HostError(`${BUNDLE} is missing: run npm run build first`);
  const credentials = openCredentials(settings);
  const files = inDataFolder(settings.dataFolder);
  const lock = lockData(settings.dataFolder);
  const publicSocket = await openPublicSocket(settings);
  mkdirSync(files.state, { recursive: true, mode: 0o700 });
  const shardCount = countShards(settings);
  prepareShards(settings.dataFolder, shardCount);
  writeFileSync(files.api, `${apiAddress(settings)}\n`);

  const runtimeFolder = makeRuntimeFolder();
  const sockets = socketsIn(runtimeFolder, settings.executors, shardCount);
  let certificate: Certificate | undefined;
  let sandbox: Sandbox | undefined;
  try {
    certificate = openCertificate(settings, runtimeFolder);
    sandbox = openSandbox(settings, runtimeFolder);
  } catch (error) {
    rmSync(runtimeFolder, { recursive: true, force: true });
    throw error;
  }
  writeConfiguration(runtimeFolder, shardCount, sandbox !== undefined);
  makeSocketFolders(sockets);
  const guardian = new Guardian(runtimeFolder);

  const options: StateOptions = {
    bundle: join(runtimeFolder, "worker.js"),
    dataFolder: files.state,
    sockets,
    compatibility: readCompatibility(),
    vars: {
      MAYFLY_RUNTIME: "workerd",
      MAYFLY_DOMAIN: settings.domain,
      MAYFLY_PORT: settings.port === (settings.tls ? 443 : 80) ? "" : String(settings.port),
      MAYFLY_SCHEME: settings.tls ? "https" : "http",
      MAYFLY_SUBDOMAIN: SUBDOMAIN,
      MAYFLY_ACCOUNT_ID: credentials.accountId,
      MAYFLY_TOKEN: credentials.token,
      MAYFLY_SECRETS_KEY: credentials.secretsKey,
      MAYFLY_ZONES: settings.zones.join(","),
      MAYFLY_API_HOSTS: settings.apiHosts.join(","),
      MAYFLY_EXECUTORS: String(settings.executors),
      MAYFLY_SHARDS: String(settings.shards),
      MAYFLY_CPU_TIME: platform === "linux" ? "known" : "",
      MAYFLY_MAX_CPU_MS: String(settings.maxCpuMs),
      MAYFLY_LOG_DAYS: String(settings.logDays),
      MAYFLY_LOG_MB: String(settings.logMb),
      MAYFLY_METRICS_SERIES: String(settings.metricsSeries),
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: settings.traces?.endpoint ?? "",
      OTEL_EXPORTER_OTLP_TRACES_HEADERS: settings.traces?.headers ?? "",
    },
  };
  const state = new ManagedProcess("state", guardian, () => spawnState(options));
  const quarantine = new ManagedProcess("quarantine", guardian, () =>
    spawnQuarantine(runtimeFolder, sockets, sandbox),
  );
  const egress =
    sandbox &&
    new ManagedProcess("egress", guardian, () => spawnEgress(runtimeFolder, sockets, sandbox));
  for (const process of [state, quarantine, egress]) process?.start();
  const shards = sockets.shards.map(
    (_, index) => new Shard(index + 1, runtimeFolder, sockets, settings, guardian),
  );
  const tellState = tellStateAt(sockets.statePing, credentials.token);
  const suspects = new Suspects(tellState);
  const { defersAccept } = publicSocket;
  const around = { runtimeFolder, sockets, settings, guardian, suspects, sandbox, defersAccept };
  const executors = sockets.executors.map(
    (path, index) =>
      new Executor(`executor-${index + 1}`, publicSocket.fd, [new Relay(path)], around),
  );
  for (const executor of executors) executor.start();
  const lanes = (["apart", "long"] as const).map((lane) => new Lane(lane, around));
  const others = (): ManagedProcess[] => [
    ...shards.map(({ process }) => process),
    quarantine,
    ...(egress ? [egress] : []),
    ...[...executors, ...lanes].flatMap(({ process }) => process ?? []),
  ];
  const stateWatchdog = new Watchdog(state, sockets.statePing, STATE_LIMIT_MS);
  const watchdogs = [
    stateWatchdog,
    new Watchdog(quarantine, sockets.quarantine, QUARANTINE_LIMIT_MS),
    ...(egress ? [new Watchdog(egress, sockets.egressPing, EGRESS_LIMIT_MS)] : []),
    new MemoryWatchdog(quarantine, memoryLimits(settings, true)),
    new ProcessReport(state, () => [state, ...others()], settings.memoryMb, tellState),
  ];

  // One executor after the other, so that the others serve meanwhile; what is asked for while it goes
  // on comes after it.
  let reloading = Promise.resolve();
  const reload = (): Promise<void> => {
    const next = reloading.then(async () => {
      for (const executor of executors) await executor.replace(settings.drainMs);
    });
    reloading = next.catch(() => undefined);
    return next;
  };
  const backup = (to: string): Promise<void> =>
    backUp(settings.dataFolder, to, (copy) =>
      holdAll(shards, () => stateWatchdog.hold(() => state.hold(copy))),
    );
  const commands = openControlSocket(settings.dataFolder, runtimeFolder, { reload, backup });

  const stop = async (drainMs = settings.drainMs): Promise<void> => {
    commands.close();
    certificate?.stop();
    publicSocket.close();
    for (const watchdog of watchdogs) watchdog.stop();
    // The executors first: what they finish still needs state.
    await Promise.all(executors.map((executor) => executor.stop(drainMs)));
    await Promise.all(lanes.map((lane) => lane.stop(Math.min(drainMs, LANE_STOP_MS))));
    await Promise.all([quarantine.stop(0), egress?.stop(0)]);
    await Promise.all([state, ...shards].map((process) => process.stop(STATE_STOP_MS)));
    await guardian.release();
    lock.release();
  };
  try {
    await untilReady(settings, sockets, () => [state, ...others()]);
  } catch (error) {
    await stop(0);
    throw error;
  }
  certificate?.watch(reload);
  return { sandboxed: sandbox !== undefined, stop: () => stop() };
}

/** Has all shards stand still at once while the work is done. */
function holdAll<T>([shard, ...others]: Shard[], work: () => Promise<T>): Promise<T> {
  return shard ? shard.hold(() => holdAll(others, work)) : work();
}

function spawnState(options: StateOptions) {
  const { sockets } = options;
  for (const path of [sockets.state, sockets.statePing]) rmSync(path, { force: true });
  const child = fork(join(import.meta.dirname, "state-process.ts"), {
    stdio: ["ignore", 2, 2, "ipc"],
    detached: true,
    execArgv: [],
  });
  // The channel closes with the process; its end is noticed elsewhere.
  child.on("error", () => {});
  child.send(options, () => {});
  return child;
}

async function untilReady(
  settings: Settings,
  sockets: Sockets,
  processes: () => ManagedProcess[],
): Promise<void> {
  const deadline = Date.now() + READY_WITHIN_MS;
  let last = "no answer";
  while (Date.now() < deadline) {
    try {
      // State is the slowest: without it there is no use in asking.
      if ((await ping(sockets.statePing, 5_000)) !== "answered") throw new Error("no answer");
      last = await askPublicSocket(settings, "/_mayfly/ready");
      if (last.startsWith("200 ")) return;
    } catch {
      // Nobody listens yet.
    }
    const failing = processes().find((process) => process.failures >= MAX_FAILURES_AT_START);
    if (failing) {
      throw new HostError(`The ${failing.name} process ends as soon as it is started; see above`);
    }
    await sleep(25);
  }
  throw new HostError(`Not ready after ${READY_WITHIN_MS / 1000} seconds: ${last}`);
}
