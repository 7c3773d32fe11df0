import { fork } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readCompatibility } from "./compatibility.ts";
import { openCredentials } from "./credentials.ts";
import { lockData } from "./data-lock.ts";
import { Guardian } from "./guardian.ts";
import { HostError } from "./host-error.ts";
import { ManagedProcess } from "./managed-process.ts";
import { BUNDLE, inDataFolder, makeRuntimeFolder, socketsIn, type Sockets } from "./paths.ts";
import { Relay } from "./relay.ts";
import { apiAddress, publicAddress, type Settings } from "./settings.ts";
import type { StateOptions } from "./state-options.ts";
import { ping, Watchdog } from "./watchdog.ts";
import {
  spawnExecutor,
  spawnQuarantine,
  SUBDOMAIN,
  writeConfiguration,
} from "./workerd-process.ts";

// How long an event loop may stand still before its process is replaced. A version has one second
// for its start, so quarantine must not give it much more; an executor may be busy with honest work.
const QUARANTINE_LIMIT_MS = 1_500;
const EXECUTOR_LIMIT_MS = 10_000;
const STATE_LIMIT_MS = 15_000;

const READY_WITHIN_MS = 60_000;
/** What requests in flight are given at the end. */
const DRAIN_MS = 10_000;
const STATE_STOP_MS = 5_000;
/** A process that fails so often before the platform has ever been ready will not do better. */
const MAX_FAILURES_AT_START = 4;

/** A running platform. */
export interface Platform {
  /** Finishes what is in flight and ends all processes. */
  stop(): Promise<void>;
}

/** Starts the platform's processes and resolves when they serve. Throws a `HostError` otherwise. */
export async function startPlatform(settings: Settings): Promise<Platform> {
  if (!existsSync(BUNDLE)) throw new HostError(`${BUNDLE} is missing: run npm run build first`);
  const credentials = openCredentials(settings);
  const files = inDataFolder(settings.dataFolder);
  const lock = lockData(settings.dataFolder);
  await checkPort(settings);
  mkdirSync(files.state, { recursive: true, mode: 0o700 });
  writeFileSync(files.api, `${apiAddress(settings)}\n`);

  const runtimeFolder = makeRuntimeFolder();
  const sockets = socketsIn(runtimeFolder);
  writeConfiguration(runtimeFolder);
  const guardian = new Guardian(runtimeFolder);
  const relay = new Relay(sockets.executor, sockets.executorRole);

  const options: StateOptions = {
    bundle: join(runtimeFolder, "worker.js"),
    dataFolder: files.state,
    sockets,
    compatibility: readCompatibility(),
    vars: {
      MAYFLY_RUNTIME: "workerd",
      MAYFLY_DOMAIN: settings.domain,
      MAYFLY_PORT: String(settings.port),
      MAYFLY_SUBDOMAIN: SUBDOMAIN,
      MAYFLY_ACCOUNT_ID: credentials.accountId,
      MAYFLY_TOKEN: credentials.token,
      MAYFLY_SECRETS_KEY: credentials.secretsKey,
      MAYFLY_ZONES: settings.zones.join(","),
      MAYFLY_API_HOSTS: settings.apiHosts.join(","),
    },
  };
  const state = new ManagedProcess("state", guardian, () => spawnState(options));
  const executor = new ManagedProcess("executor", guardian, () =>
    spawnExecutor(runtimeFolder, sockets, settings),
  );
  const quarantine = new ManagedProcess("quarantine", guardian, () =>
    spawnQuarantine(runtimeFolder, sockets),
  );
  const all = [state, executor, quarantine];
  for (const process of all) process.start();
  const watchdogs = [
    new Watchdog(state, sockets.statePing, STATE_LIMIT_MS),
    new Watchdog(executor, sockets.executorPing, EXECUTOR_LIMIT_MS),
    new Watchdog(quarantine, sockets.quarantine, QUARANTINE_LIMIT_MS),
  ];

  const stop = async (drainMs = DRAIN_MS): Promise<void> => {
    for (const watchdog of watchdogs) watchdog.stop();
    // The executor first: what it finishes still needs state.
    relay.close();
    await executor.stop(drainMs);
    await quarantine.stop(0);
    await state.stop(STATE_STOP_MS);
    await guardian.release();
    lock.release();
  };
  try {
    await untilReady(settings, sockets, all);
  } catch (error) {
    await stop(0);
    throw error;
  }
  return { stop: () => stop() };
}

function spawnState(options: StateOptions) {
  const { sockets } = options;
  for (const path of [sockets.state, sockets.shard, sockets.statePing])
    rmSync(path, { force: true });
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

// workerd would say it too, but later and less clearly.
function checkPort({ bind, port }: Settings): Promise<void> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once("error", ({ code, message }: NodeJS.ErrnoException) => {
      const reason: Record<string, string> = {
        EADDRINUSE: `PORT: ${port} on ${bind} is taken; stop what listens there or choose another port`,
        EACCES: `PORT: ${port} may not be opened by this user; choose one from 1024`,
        EADDRNOTAVAIL: `MAYFLY_BIND: ${bind} is not an address of this machine`,
      };
      reject(new HostError(reason[code ?? ""] ?? `PORT: ${port} cannot be opened: ${message}`));
    });
    server.listen(port, bind, () => server.close(() => resolve()));
  });
}

async function untilReady(
  settings: Settings,
  sockets: Sockets,
  processes: ManagedProcess[],
): Promise<void> {
  const local = { "0.0.0.0": "127.0.0.1", "::": "[::1]" }[settings.bind];
  const authority = local ? `${local}:${settings.port}` : publicAddress(settings);
  const deadline = Date.now() + READY_WITHIN_MS;
  let last = "no answer";
  while (Date.now() < deadline) {
    try {
      // State is the slowest: without it there is no use in asking.
      if ((await ping(sockets.statePing, 5_000)) !== "answered") throw new Error("no answer");
      const response = await fetch(`http://${authority}/_mayfly/ready`, {
        signal: AbortSignal.timeout(5_000),
      });
      if (response.status === 200) return;
      last = `${response.status} ${await response.text()}`;
    } catch {
      // Nobody listens yet.
    }
    const failing = processes.find((process) => process.failures >= MAX_FAILURES_AT_START);
    if (failing) {
      throw new HostError(`The ${failing.name} process ends as soon as it is started; see above`);
    }
    await sleep(25);
  }
  throw new HostError(`Not ready after ${READY_WITHIN_MS / 1000} seconds: ${last}`);
}
