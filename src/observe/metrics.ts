import type { Env } from "../env.ts";
import { counters, poolSizes } from "../isolates/pool.ts";
import { outcomes } from "../pipeline/record.ts";
import { stateOf } from "../roles/contract.ts";

/** `GET /_mayfly/metrics`: this process's numbers in Prometheus' text format. Needs a token. */
export async function metrics(
  request: Request,
  env: Env,
  ctx: ExecutionContext,
): Promise<Response> {
  const token = request.headers.get("authorization")?.replace(/^Bearer /, "");
  if (!token || !(await stateOf(env, ctx).isToken(token))) {
    return new Response("401: needs Authorization: Bearer <token>\n", { status: 401 });
  }
  const sizes = poolSizes();
  const lines = [
    gauge("mayfly_isolates", "Isolates in this process.", sizes.isolates),
    gauge("mayfly_spare_isolates", "Isolates started ahead and unused.", sizes.spares),
    gauge("mayfly_invocations_in_flight", "Invocations that have not ended.", sizes.inFlight),
    gauge("mayfly_heap_cage_bytes", "Estimate of the heap cage in use.", sizes.costBytes),
    counter("mayfly_isolates_started_total", "Isolates started.", counters.started),
    counter("mayfly_isolates_evicted_total", "Isolates evicted.", counters.evicted),
    counter("mayfly_requests_refused_total", "Refused for lack of capacity.", counters.refused),
    "# HELP mayfly_invocations_total Finished invocations.",
    "# TYPE mayfly_invocations_total counter",
    ...Object.entries(outcomes).map(
      ([outcome, count]) => `mayfly_invocations_total{outcome="${outcome}"} ${count}`,
    ),
  ];
  return new Response(lines.join("\n") + "\n", {
    headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
  });
}

const metric = (type: string, name: string, help: string, value: number): string =>
  `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${name} ${value}`;
const gauge = (name: string, help: string, value: number): string =>
  metric("gauge", name, help, value);
const counter = (name: string, help: string, value: number): string =>
  metric("counter", name, help, value);
