import type { Env } from "../../env.ts";
import { poolSizes } from "../../isolates/pool.ts";
import { executorsOf, lanesOf, type ExecutorRole } from "../../roles/contract.ts";
import { receive } from "../../roles/forward.ts";
import { report } from "../../usage/report.ts";
import { log } from "../log.ts";
import { addValue, toText, type SeriesValues } from "./series.ts";

/** One that stands still is left out: whoever asks for metrics does not wait long either. */
const PATIENCE_MS = 2_000;

/** What an executor holds at the moment. */
export interface ExecutorSample extends ReturnType<typeof poolSizes> {
  /** Empty if it takes requests from outside. */
  lane: string;
}

/** This executor's sample. When it returns, state knows all that has been counted here until now. */
export async function sample(env: Env, ctx: ExecutionContext): Promise<ExecutorSample> {
  // A report that is under way may not have the last of it.
  await report(env, ctx);
  await report(env, ctx);
  return { lane: env.MAYFLY_LANE ?? "", ...poolSizes() };
}

/** What all executors hold. When it returns, those that answer have reported what they had counted. */
export async function executorSeries(env: Env, ctx: ExecutionContext): Promise<SeriesValues> {
  const series: SeriesValues = {};
  addValue(series, "mayfly_executors", "", 0);
  const samples = await Promise.all([
    ...executorsOf(env, ctx).map((executor) => ask(executor, notSampled)),
    // One that is not there has nothing to tell.
    ...lanesOf(env).map((lane) => ask(lane, () => undefined)),
  ]);
  for (const [index, answer] of samples.entries()) {
    if (!answer) continue;
    if (!answer.lane) addValue(series, "mayfly_executors", "", 1);
    const labels = toText({ process: `executor-${answer.lane || index + 1}` });
    addValue(series, "mayfly_isolates", labels, answer.isolates);
    addValue(series, "mayfly_spare_isolates", labels, answer.spares);
    addValue(series, "mayfly_invocations_in_flight", labels, answer.inFlight);
    addValue(series, "mayfly_heap_cage_bytes", labels, answer.costBytes);
  }
  return series;
}

const notSampled = (error: unknown): void =>
  log("warn", "executor_not_sampled", { message: String(error) });

function ask(
  executor: ExecutorRole,
  failed: (error: unknown) => void,
): Promise<ExecutorSample | undefined> {
  const asked = receive(executor.sample()).catch((error: unknown) => {
    failed(error);
    return undefined;
  });
  return Promise.race([asked, scheduler.wait(PATIENCE_MS).then(() => undefined)]);
}
