import { closedLoop } from "../load.ts";
import { startMayfly } from "../mayfly.ts";
import type { Row, Section } from "../report.ts";
import { Stage, type Target } from "../stage.ts";
import { alternate, median, medianRatio } from "../statistics.ts";
import { startWorkerd } from "../workerd.ts";

/** How many connections send requests without a pause. */
export const CONNECTIONS = 16;

/** Requests per second with one and with two executors, beside as many processes of workerd alone. */
export async function throughput(quick: boolean): Promise<Section[]> {
  const { rounds, seconds } = quick ? { rounds: 3, seconds: 1 } : { rounds: 5, seconds: 2 };
  await using stage = new Stage();
  const [workerd1, workerd2] = [await startWorkerd(stage, 1), await startWorkerd(stage, 2)];
  const [mayfly1, mayfly2] = [await startMayfly(stage, 1), await startMayfly(stage, 2)];
  const targets = {
    plain1: workerd1.plain,
    plain2: workerd2.plain,
    loader1: workerd1.warm,
    loader2: workerd2.warm,
    shared1: mayfly1.shared,
    shared2: mayfly2.shared,
    load1: workerd1.load,
    load2: workerd2.load,
    request1: mayfly1.request,
    request2: mayfly2.request,
  } satisfies Record<string, Target>;
  type Name = keyof typeof targets;
  const perSecond = await alternate(rounds, Object.keys(targets) as Name[], async (name) => {
    const { port, request } = targets[name];
    return (await closedLoop(port, request, CONNECTIONS, seconds)).perSecond;
  });
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
