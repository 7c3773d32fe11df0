import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { memoryOfAll } from "../../../src/host/memory-usage.ts";
import { oneByOne, PAUSE_MS, whenWarm } from "../load.ts";
import { functionsFramework } from "../peers/functions-framework.ts";
import { mayfly } from "../peers/mayfly.ts";
import { nodeHttp } from "../peers/node.ts";
import type { Peer } from "../peers/peer.ts";
import { serverlessOffline } from "../peers/serverless-offline.ts";
import { bareLoader, plainWorkerd } from "../peers/workerd.ts";
import { wranglerDev } from "../peers/wrangler-dev.ts";
import type { Grid } from "../report.ts";
import { Stage } from "../stage.ts";
import { median, quantile } from "../statistics.ts";
import { CONNECTIONS } from "./throughput.ts";

// What a start or first calls have left to be done and to be collected.
const SETTLE_MS = 1_000;
const MIB = 1024 * 1024;

/** What one round finds out. */
interface Run {
  startMs: number;
  mib: number;
  perSecond: number;
  latencies: number[];
}

/** What functions beside the first take. */
interface Further {
  firstCallMs: number;
  mib: number;
}

interface Measured {
  peer: Peer;
  runs: Run[];
  further: Further | undefined;
}

/** Mayfly beside what a user would run functions with instead, one at a time. */
export async function peers(quick: boolean): Promise<Grid[]> {
  const { rounds, seconds, functions } = quick
    ? { rounds: 1, seconds: 1, functions: 20 }
    : { rounds: 3, seconds: 2, functions: 50 };
  await using stage = new Stage();
  const notes: string[] = [];
  const leaveOut = (name: string, error: unknown): void => {
    notes.push(`Left out: ${name}. ${String(error)}`);
  };
  let measured: Measured[] = (await preparePeers(stage, leaveOut)).map((peer) => ({
    peer,
    runs: [],
    further: undefined,
  }));
  for (let round = 0; round < rounds; round++) {
    for (const entry of measured) {
      try {
        entry.runs.push(await measure(entry.peer, seconds));
        if (round === 0) entry.further = await measureFurther(entry.peer, functions);
      } catch (error) {
        if (!entry.peer.optional) throw error;
        measured = measured.filter((other) => other !== entry);
        leaveOut(entry.peer.name, error);
      }
    }
  }
  return [
    {
      title: `One at a time, ${CONNECTIONS} connections`,
      columns: [
        "start, ms",
        "first call, ms",
        "req/s",
        "p50, ms",
        "p99, ms",
        "MiB, one function",
        "MiB, each further",
      ],
      rows: measured.map(({ peer, runs, further }) => {
        const of = (value: (run: Run) => number): number => median(runs.map(value));
        const startMs = of((run) => run.startMs);
        const mib = of((run) => run.mib);
        const next = further ?? (peer.processEach ? { firstCallMs: startMs, mib } : undefined);
        const values = [
          startMs,
          next?.firstCallMs,
          of((run) => run.perSecond),
          of((run) => median(run.latencies)),
          of((run) => quantile(run.latencies, 0.99)),
          mib,
          next?.mib,
        ];
        return { name: peer.name, values };
      }),
      notes,
    },
  ];
}

async function preparePeers(
  stage: Stage,
  leaveOut: (name: string, error: unknown) => void,
): Promise<Peer[]> {
  const prepared = [
    await mayfly("Mayfly, shared, 1 executor", "shared", 1, stage),
    await mayfly("Mayfly, shared, 2 executors", "shared", 2, stage),
    await mayfly("Mayfly, request, 1 executor", "request", 1, stage),
    plainWorkerd,
    bareLoader,
    wranglerDev,
  ];
  const toInstall = {
    "serverless-offline": serverlessOffline,
    "functions-framework": functionsFramework,
  };
  for (const [name, install] of Object.entries(toInstall)) {
    const folder = join(stage.folder, name);
    mkdirSync(folder);
    try {
      prepared.push(await install(folder));
    } catch (error) {
      leaveOut(name, error);
    }
  }
  return [...prepared, nodeHttp];
}

async function measure(peer: Peer, seconds: number): Promise<Run> {
  await using stage = new Stage();
  const started = await peer.start(stage);
  await sleep(SETTLE_MS);
  const mib = (memoryOfAll(started.pid) ?? Number.NaN) / MIB;
  return { startMs: started.startMs, mib, ...(await whenWarm(started, CONNECTIONS, seconds)) };
}

async function measureFurther(peer: Peer, functions: number): Promise<Further | undefined> {
  if (!peer.startMany) return undefined;
  await using stage = new Stage();
  const { port, requests, pid } = await peer.startMany(stage, functions);
  await sleep(SETTLE_MS);
  const before = memoryOfAll(pid) ?? Number.NaN;
  const firstCallMs = median(await oneByOne(port, requests, PAUSE_MS));
  // In `request` mode only what is called again has isolates that wait for the next call.
  await oneByOne(port, requests, PAUSE_MS);
  await sleep(SETTLE_MS);
  const after = memoryOfAll(pid) ?? Number.NaN;
  return { firstCallMs, mib: (after - before) / MIB / functions };
}
