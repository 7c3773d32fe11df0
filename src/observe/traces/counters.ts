import { counter } from "../metrics/counters.ts";

/** Spans on their way, for the metrics. */
export const exported = counter("mayfly_spans_exported_total");
export const droppedWaiting = counter("mayfly_spans_dropped_total", { reason: "waiting" });
export const refused = counter("mayfly_spans_dropped_total", { reason: "refused" });
