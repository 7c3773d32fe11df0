import type { Observe } from "./routing.ts";
import type { ScriptSettings } from "./scripts.ts";

/** Who wants to see the invocations of a script with these settings; undefined if nobody. */
export function observeOf({ observability }: ScriptSettings): Observe | undefined {
  const keep = keptShare(observability);
  return keep > 0 ? { keep } : undefined;
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
