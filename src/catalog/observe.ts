import type { Observe } from "./routing.ts";
import type { ScriptSettings } from "./scripts.ts";

/** Who wants to see the invocations of a script with these settings; undefined if nobody. */
export function observeOf(
  { observability, tail_consumers = [] }: ScriptSettings,
  tailed: boolean,
): Observe | undefined {
  const keep = keptShare(observability);
  const consumers = [...new Set(tail_consumers.map(({ service }) => service))];
  if (keep === 0 && !tailed && consumers.length === 0) return undefined;
  return {
    ...(keep > 0 && { keep }),
    ...(tailed && { tailed }),
    ...(consumers.length > 0 && { consumers }),
  };
}

// `observability.logs` says the same as its parent, for logs alone.
function keptShare(observability: ScriptSettings["observability"]): number {
  const { logs } = observability ?? {};
  const own = { ...observability, ...(typeof logs === "object" && logs) } as {
    enabled?: boolean;
    head_sampling_rate?: number | null;
  };
  return own.enabled ? (own.head_sampling_rate ?? 1) : 0;
}
