import type { Keep, Observe } from "./routing.ts";
import type { ScriptSettings } from "./scripts.ts";

/** Who wants to see the invocations of a script with these settings; undefined if nobody. */
export function observeOf(
  { observability, tail_consumers = [] }: ScriptSettings,
  tailed: boolean,
): Observe | undefined {
  const keep = keepOf(observability);
  const consumers = [...new Set(tail_consumers.map(({ service }) => service))];
  if (!keep && !tailed && consumers.length === 0) return undefined;
  return {
    ...(keep && { keep }),
    ...(tailed && { tailed }),
    ...(consumers.length > 0 && { consumers }),
  };
}

// What `observability.logs` says counts more than its parent, which it has some members in common with.
function keepOf(observability: ScriptSettings["observability"]): Keep | undefined {
  const { logs, redact_query_string: withoutQuery } = observability ?? {};
  const { enabled, head_sampling_rate, invocation_logs, persist } = { ...observability, ...logs };
  const rate = head_sampling_rate ?? 1;
  if (!enabled || persist === false || rate === 0) return undefined;
  return {
    rate,
    ...(invocation_logs === false && { linesOnly: true }),
    ...(withoutQuery && { withoutQuery }),
  };
}
