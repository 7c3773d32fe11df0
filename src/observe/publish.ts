import type { Invocation } from "../pipeline/record.ts";
import { keep } from "../usage/report.ts";
import type { Observed } from "./observed.ts";

/** Passes a finished invocation on to those who want to see more of it than numbers. */
export function publish(invocation: Invocation, observed: Observed): void {
  const { observed: _, entrypoint, ...rest } = invocation;
  const { event, logs, exceptions } = observed;
  if (observed.keep) {
    keep({ ...rest, ...(entrypoint !== undefined && { entrypoint }), event, logs, exceptions });
  }
}
