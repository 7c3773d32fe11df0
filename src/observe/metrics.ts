import type { Env } from "../env.ts";
import { counters, poolSizes } from "../isolates/pool.ts";
import { outcomes } from "../pipeline/record.ts";
import { memorySample } from "./process-memory.ts";
import { askShards } from "./shards.ts";
import { everyExecutorOf, stateOf } from "../roles/contract.ts";

/** What one executor has counted since it started, and what it holds at the moment, by series. */
export type Sample = Record<string, number>;

type Metric = [name: string, type: "gauge" | "counter", help: string];

const METRICS: Metric[] = [
  ["mayfly_executors", "gauge", "Executors that answer, without the two for what runs apart."],
  ["mayfly_shards", "gauge", "Shards that answer."],
  ["mayfly_process_memory_bytes", "gauge", "Memory of each process that is its own."],
  ["mayfly_isolates", "gauge", "Isolates in all executors."],
  ["mayfly_spare_isolates", "gauge", "Isolates started ahead and unused."],
  ["mayfly_invocations_in_flight", "gauge", "Invocations that have not ended."],
  ["mayfly_heap_cage_bytes", "gauge", "Estimate of the executors' heap cages in use."],
  ["mayfly_isolates_started_total", "counter", "Isolates started."],
  ["mayfly_isolates_evicted_total", "counter", "Isolates evicted."],
  ["mayfly_requests_refused_total", "counter", "Refused for lack of capacity."],
  ["mayfly_invocations_total", "counter", "Finished invocations."],
];

/** This process's numbers. */
export function sample(env: Env): Sample {
  const { isolates, spares, inFlight, costBytes } = poolSizes();
  const numbers: Sample = {
    mayfly_executors: env.MAYFLY_LANE ? 0 : 1,
    mayfly_isolates: isolates,
    mayfly_spare_isolates: spares,
    mayfly_invocations_in_flight: inFlight,
    mayfly_heap_cage_bytes: costBytes,
    mayfly_isolates_started_total: counters.started,
    mayfly_isolates_evicted_total: counters.evicted,
    mayfly_requests_refused_total: counters.refused,
  };
  for (const [outcome, count] of Object.entries(outcomes)) {
    numbers[`mayfly_invocations_total{outcome="${outcome}"}`] = count;
  }
  return numbers;
}

/** The numbers of all executors together, and how many shards answer. What does not is left out. */
export async function sampleAll(env: Env, ctx: ExecutionContext): Promise<Sample> {
  const asked = everyExecutorOf(env, ctx).map((executor) => executor.sample());
  const shards = await askShards(env, ctx);
  const total: Sample = { mayfly_shards: shards.filter(Boolean).length, ...memorySample() };
  for (const answer of await Promise.allSettled(asked)) {
    if (answer.status === "rejected") continue;
    for (const [series, value] of Object.entries(answer.value)) {
      total[series] = (total[series] ?? 0) + value;
    }
  }
  return total;
}

/**
 * `GET /_mayfly/metrics`: the numbers of all in Prometheus' text format. Needs a token. A
 * counter starts again at 0 with its executor.
 */
export async function metrics(
  request: Request,
  env: Env,
  ctx: ExecutionContext,
): Promise<Response> {
  const token = request.headers.get("authorization")?.replace(/^Bearer /, "");
  const state = stateOf(env, ctx);
  if (!token || !(await state.isToken(token))) {
    return new Response("401: needs Authorization: Bearer <token>\n", { status: 401 });
  }
  // Only state knows all executors.
  const series = Object.entries(await state.sampleExecutors());
  const lines = METRICS.flatMap(([name, type, help]) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...series
      .filter(([key]) => key === name || key.startsWith(`${name}{`))
      .map(([key, value]) => `${key} ${value}`),
  ]);
  return new Response(lines.join("\n") + "\n", {
    headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
  });
}
