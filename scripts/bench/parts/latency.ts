import { openLoop, type Arrivals } from "../load.ts";
import { startMayfly } from "../mayfly.ts";
import type { Section } from "../report.ts";
import { Stage, type Target } from "../stage.ts";
import { alternate, median, medianRatio, quantile } from "../statistics.ts";
import { startWorkerd } from "../workerd.ts";

const RATES = [20, 100];
const ARRIVALS = ["evenly", "at random"] as const;

type Targets = Record<"shared" | "request" | "load", Target>;

/** Milliseconds to an answer at rates that leave time between requests. */
export async function latency(quick: boolean): Promise<Section[]> {
  await using stage = new Stage();
  const { load } = await startWorkerd(stage, 1);
  const targets = { ...(await startMayfly(stage, 1)), load };
  const sections: Section[] = [];
  for (const rate of RATES) {
    for (const arrivals of ARRIVALS) sections.push(await measure(targets, rate, arrivals, quick));
  }
  return sections;
}

async function measure(
  targets: Targets,
  rate: number,
  arrivals: Arrivals,
  quick: boolean,
): Promise<Section> {
  const { rounds, seconds } = quick ? { rounds: 3, seconds: 1 } : { rounds: 5, seconds: 3 };
  const names = ["shared", "request", "load"] as const;
  const runs = await alternate(rounds, names, (name) => {
    const { port, request } = targets[name];
    return openLoop(port, request, rate, arrivals, seconds);
  });
  const p50 = (name: keyof Targets): number[] => runs[name].map(median);
  // The tail of a single round is a handful of requests, so it is taken of all rounds together.
  const p99 = (name: keyof Targets): number => quantile(runs[name].flat(), 0.99);
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
