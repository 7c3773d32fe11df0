import { whenWarm } from "../load.ts";
import { startMayfly } from "../mayfly.ts";
import type { Row, Section } from "../report.ts";
import { Stage, type Target } from "../stage.ts";
import { median, medianRatio } from "../statistics.ts";
import { startWorkerd } from "../workerd.ts";

/** How many connections send requests without a pause. */
export const CONNECTIONS = 16;

const NAMES = (["shared", "request", "plain", "loader", "load"] as const).flatMap(
  (name) => [`${name}1`, `${name}2`] as const,
);
type Name = (typeof NAMES)[number];
type Rates = Record<Name, number[]>;

/** Requests per second with one and with two executors, beside as many processes of workerd alone. */
export async function throughput(quick: boolean): Promise<Section[]> {
  const { rounds, seconds } = quick ? { rounds: 3, seconds: 1 } : { rounds: 5, seconds: 2 };
  const perSecond = Object.fromEntries(NAMES.map((name) => [name, [] as number[]])) as Rates;
  for (let round = 0; round < rounds; round++) {
    for (const count of [1, 2] as const) {
      // One after the other: a platform at rest still takes a few hundredths of a core.
      await measure(perSecond, seconds, async (stage) => {
        const { shared, request } = await startMayfly(stage, count);
        return { [`shared${count}`]: shared, [`request${count}`]: request };
      });
      await measure(perSecond, seconds, async (stage) => {
        const { plain, warm, load } = await startWorkerd(stage, count);
        return { [`plain${count}`]: plain, [`loader${count}`]: warm, [`load${count}`]: load };
      });
    }
  }
  const row = (name: string, target: Name, reference?: Name, of = ""): Row => ({
    name,
    value: median(perSecond[target]),
    ...(reference && { ratio: medianRatio(perSecond[target], perSecond[reference]), of }),
  });
  return [
    {
      title: `Throughput, ${CONNECTIONS} connections`,
      unit: "req/s",
      rows: [
        {
          ...row("Mayfly, shared, 1 executor", "shared1", "loader1", "1 bare loader"),
          aim: { atLeast: 0.8 },
        },
        row("Mayfly, shared, 1 executor", "shared1", "plain1", "1 plain worker"),
        {
          ...row("Mayfly, shared, 2 executors", "shared2", "loader2", "2 bare loaders"),
          aim: { atLeast: 0.8 },
        },
        row("Mayfly, shared, 2 executors", "shared2", "plain2", "2 plain workers"),
        row("Mayfly, shared, 2 executors", "shared2", "shared1", "1 executor"),
        row("Mayfly, request, 1 executor", "request1", "load1", "1 load() per request"),
        row("Mayfly, request, 2 executors", "request2", "load2", "2 load() per request"),
        row("Mayfly, request, 2 executors", "request2", "request1", "1 executor"),
        row("workerd, plain worker, 1 process", "plain1"),
        row("workerd, plain worker, 2 processes", "plain2", "plain1", "1 process"),
        row("workerd, bare loader, 1 process", "loader1"),
        row("workerd, bare loader, 2 processes", "loader2", "loader1", "1 process"),
        row("workerd, load() per request, 1 process", "load1"),
        row("workerd, load() per request, 2 processes", "load2", "load1", "1 process"),
      ],
    },
  ];
}

async function measure(
  perSecond: Rates,
  seconds: number,
  start: (stage: Stage) => Promise<Partial<Record<Name, Target>>>,
): Promise<void> {
  await using stage = new Stage();
  const targets = await start(stage);
  for (const name of NAMES) {
    const target = targets[name];
    if (target) perSecond[name].push((await whenWarm(target, CONNECTIONS, seconds)).perSecond);
  }
}
