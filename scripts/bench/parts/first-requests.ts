import { oneByOne, PAUSE_MS } from "../load.ts";
import { firstInMayfly, startMayfly } from "../mayfly.ts";
import type { Section } from "../report.ts";
import { Stage } from "../stage.ts";
import { alternate, median, medianRatio } from "../statistics.ts";
import { firstInLoader, startWorkerd } from "../workerd.ts";

/** What it takes to answer the first request to a script. */
export async function firstRequests(quick: boolean): Promise<Section[]> {
  const { rounds, scripts } = quick ? { rounds: 3, scripts: 15 } : { rounds: 5, scripts: 40 };
  await using stage = new Stage();
  const workerd = await startWorkerd(stage, 1);
  const { platform } = await startMayfly(stage, 1);
  const medians = await alternate(rounds, ["loader", "mayfly"], async (name) => {
    const [port, requests] =
      name === "loader"
        ? [workerd.first.port, firstInLoader(workerd, scripts)]
        : [platform.port, await firstInMayfly(platform, scripts, "request")];
    return median(await oneByOne(port, requests, PAUSE_MS));
  });
  return [
    {
      title: "First request to a script never called",
      unit: "ms",
      rows: [
        {
          name: "Mayfly, p50",
          value: median(medians.mayfly),
          ratio: medianRatio(medians.mayfly, medians.loader),
          of: "workerd's loader",
          aim: { atMost: 1.5 },
        },
        { name: "workerd's loader, p50", value: median(medians.loader) },
      ],
    },
  ];
}
