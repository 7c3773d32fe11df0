/**
 * Measures Mayfly against workerd and Miniflare alone, on this machine, in one run: `npm run bench [-- --quick]`.
 * What travels between machines are the ratios. Targets take turns, round by round, and what is
 * printed is the median of the rounds.
 */
import { cpus, loadavg, release, type as system } from "node:os";
import { parseArgs } from "node:util";
import { closedLoop, oneByOne, openLoop, type Arrivals } from "./bench/load.ts";
import { measureQueue, type QueueRates } from "./bench/queue.ts";
import { report, type Row, type Section } from "./bench/report.ts";
import { median, medianRatio, quantile } from "./bench/statistics.ts";
import { startTargets, type Target, type Targets } from "./bench/targets.ts";
import "./build.ts";

const { quick } = parseArgs({ options: { quick: { type: "boolean", default: false } } }).values;

const CONNECTIONS = 16;
const THROUGHPUT = quick ? { rounds: 3, seconds: 1 } : { rounds: 5, seconds: 2 };
const FIRST = quick ? { rounds: 3, scripts: 15 } : { rounds: 5, scripts: 40 };
const LATENCY = quick ? { rounds: 3, seconds: 1 } : { rounds: 5, seconds: 3 };
const QUEUE = quick ? { rounds: 3, messages: 5_000 } : { rounds: 5, messages: 20_000 };
const RATES = [20, 100];
const ARRIVALS = ["evenly", "at random"] as const;
// New scripts are seldom called all at once, and what a first call leaves to be done is not the next one's.
const PAUSE_MS = 20;

const begun = Date.now();
// What else ran on the machine when the run began: above a few tenths the result says little.
const [load = 0] = loadavg();
const targets = await startTargets();
try {
  const sections = [await throughput(), await firstRequests()];
  for (const rate of RATES) {
    for (const arrivals of ARRIVALS) sections.push(await latency(rate, arrivals));
  }
  sections.push(await queues());
  const seconds = Math.round((Date.now() - begun) / 1000);
  const [cpu] = cpus();
  console.log(
    `${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${cpu?.model.trim()}, ` +
      `${system()} ${release()}, Node ${process.version}, load ${load.toFixed(1)} before, ` +
      `${seconds} s${quick ? ", --quick" : ""}\n`,
  );
  console.log(report(sections));
} finally {
  await targets.stop();
}

type Name = Exclude<keyof Targets, "firstInLoader" | "firstInMayfly" | "queues" | "stop">;

/** Measures each of the targets once per round, in turn. */
async function alternate<N extends string, T>(
  rounds: number,
  names: readonly N[],
  measure: (name: N) => Promise<T>,
): Promise<Record<N, T[]>> {
  const values = Object.fromEntries(names.map((name) => [name, [] as T[]])) as Record<N, T[]>;
  for (let round = 0; round < rounds; round++) {
    for (const name of names) values[name].push(await measure(name));
  }
  return values;
}

async function throughput(): Promise<Section> {
  const { rounds, seconds } = THROUGHPUT;
  const run = ({ port, request }: Target): Promise<number> =>
    closedLoop(port, request, CONNECTIONS, seconds);
  const names = ["plain", "loader", "shared", "request", "load", "wranglerDev", "node"] as const;
  const perSecond = await alternate(rounds, names, (name) => run(targets[name]));
  const value = (name: (typeof names)[number]): number => median(perSecond[name]);
  const ratio = (name: (typeof names)[number], of: (typeof names)[number]): number =>
    medianRatio(perSecond[name], perSecond[of]);
  return {
    title: `Throughput, ${CONNECTIONS} connections`,
    unit: "req/s",
    rows: [
      {
        name: "Mayfly, shared",
        value: value("shared"),
        ratio: ratio("shared", "loader"),
        of: "bare loader",
        aim: { atLeast: 0.8 },
      },
      {
        name: "Mayfly, shared",
        value: value("shared"),
        ratio: ratio("shared", "plain"),
        of: "plain worker",
      },
      {
        name: "Mayfly, request",
        value: value("request"),
        ratio: ratio("request", "load"),
        of: "load() per request",
      },
      { name: "workerd, plain worker", value: value("plain") },
      { name: "workerd, bare loader", value: value("loader") },
      { name: "workerd, load() per request", value: value("load") },
      { name: "wrangler dev", value: value("wranglerDev") },
      { name: "node:http", value: value("node") },
    ],
  };
}

async function firstRequests(): Promise<Section> {
  const { rounds, scripts } = FIRST;
  const names = ["firstInLoader", "firstInMayfly"] as const;
  const medians = await alternate(rounds, names, async (name) => {
    const { port, requests } = await targets[name](scripts);
    return median(await oneByOne(port, requests, PAUSE_MS));
  });
  return {
    title: "First request to a script never called",
    unit: "ms",
    rows: [
      {
        name: "Mayfly, p50",
        value: median(medians.firstInMayfly),
        ratio: medianRatio(medians.firstInMayfly, medians.firstInLoader),
        of: "workerd's loader",
        aim: { atMost: 1.5 },
      },
      { name: "workerd's loader, p50", value: median(medians.firstInLoader) },
    ],
  };
}

async function latency(rate: number, arrivals: Arrivals): Promise<Section> {
  const names = ["shared", "request", "load"] as const satisfies Name[];
  const runs = await alternate(LATENCY.rounds, names, (name) => {
    const { port, request } = targets[name];
    return openLoop(port, request, rate, arrivals, LATENCY.seconds);
  });
  const p50 = (name: (typeof names)[number]): number[] => runs[name].map(median);
  // The tail of a single round is a handful of requests, so it is taken of all rounds together.
  const p99 = (name: (typeof names)[number]): number => quantile(runs[name].flat(), 0.99);
  return {
    title: `Latency at ${rate} requests per second, ${arrivals}`,
    unit: "ms",
    rows: [
      {
        name: "Mayfly, request, p50",
        value: median(p50("request")),
        ratio: medianRatio(p50("request"), p50("shared")),
        of: "shared",
        aim: { atMost: 1.2 },
      },
      {
        name: "Mayfly, request, p50",
        value: median(p50("request")),
        ratio: medianRatio(p50("request"), p50("load")),
        of: "load() per request",
      },
      {
        name: "Mayfly, request, p99",
        value: p99("request"),
        ratio: p99("request") / p99("shared"),
        of: "shared",
      },
      {
        name: "Mayfly, request, p99",
        value: p99("request"),
        ratio: p99("request") / p99("load"),
        of: "load() per request",
      },
      { name: "Mayfly, shared, p50", value: median(p50("shared")) },
      { name: "Mayfly, shared, p99", value: p99("shared") },
      { name: "workerd, load() per request, p50", value: median(p50("load")) },
      { name: "workerd, load() per request, p99", value: p99("load") },
    ],
  };
}

async function queues(): Promise<Section> {
  const { rounds, messages } = QUEUE;
  const names = ["mayfly", "mayflyOneByOne", "miniflare"] as const;
  const runs = await alternate(rounds, names, (name) =>
    measureQueue(targets.queues[name], messages),
  );
  const row = (name: string, target: (typeof names)[number], rate: keyof QueueRates): Row => {
    const values = runs[target].map((rates) => rates[rate]);
    const references = runs.miniflare.map((rates) => rates[rate]);
    const ratio = medianRatio(values, references);
    return {
      name,
      value: median(values),
      ...(target !== "miniflare" && { ratio, of: "Miniflare" }),
    };
  };
  return {
    title: "Queues, messages of about 100 bytes",
    unit: "msg/s",
    rows: [
      row("Mayfly, in, sendBatch of 100", "mayfly", "inBatches"),
      row("Mayfly, in, send", "mayfly", "inSingly"),
      row("Mayfly, out, batches of 100", "mayfly", "out"),
      row("Mayfly, out, one batch at a time", "mayflyOneByOne", "out"),
      row("Miniflare, in, sendBatch of 100", "miniflare", "inBatches"),
      row("Miniflare, in, send", "miniflare", "inSingly"),
      row("Miniflare, out, batches of 100", "miniflare", "out"),
    ],
  };
}
