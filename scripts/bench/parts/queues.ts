import { mayflyQueue, measureQueue, miniflareQueue, type QueueRates } from "../queue.ts";
import type { Row, Section } from "../report.ts";
import { Stage } from "../stage.ts";
import { alternate, median, medianRatio } from "../statistics.ts";

/** Messages per second into a queue and out of it. */
export async function queues(quick: boolean): Promise<Section[]> {
  const { rounds, messages } = quick
    ? { rounds: 3, messages: 5_000 }
    : { rounds: 5, messages: 20_000 };
  await using stage = new Stage();
  // The worker counts in its isolate, so there must be only one.
  const platform = await stage.platform({ env: { MAYFLY_EXECUTORS: "1" } });
  const miniflare = await miniflareQueue();
  stage.defer(() => miniflare.stop());
  const targets = {
    mayfly: await mayflyQueue(platform, "queue", undefined),
    mayflyOneByOne: await mayflyQueue(platform, "queue-one-by-one", 1),
    miniflare,
  };
  type Name = keyof typeof targets;
  const names = Object.keys(targets) as Name[];
  const runs = await alternate(rounds, names, (name) => measureQueue(targets[name], messages));
  const row = (name: string, target: Name, rate: keyof QueueRates): Row => {
    const values = runs[target].map((rates) => rates[rate]);
    const references = runs.miniflare.map((rates) => rates[rate]);
    const ratio = medianRatio(values, references);
    return {
      name,
      value: median(values),
      ...(target !== "miniflare" && { ratio, of: "Miniflare" }),
    };
  };
  return [
    {
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
    },
  ];
}
