/** One metric as Prometheus knows it. */
interface Metric {
  type: "counter" | "gauge" | "histogram";
  help: string;
  /** Of a histogram: upper bounds of its buckets, in milliseconds as they are measured. */
  boundsMs?: readonly number[];
}

const TO_30_SECONDS = [
  1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000,
] as const;
const TO_A_DAY = [100, 500, 1_000, 5_000, 10_000, 60_000, 600_000, 3_600_000, 86_400_000] as const;

/** All metrics, in the order in which they are shown; docs/observability.md tells their labels. */
export const METRICS = {
  mayfly_invocations_total: { type: "counter", help: "Finished invocations." },
  mayfly_invocation_duration_seconds: {
    type: "histogram",
    help: "Wall time of invocations, with all that they left to be done.",
    boundsMs: TO_30_SECONDS,
  },
  mayfly_invocation_cpu_seconds_total: {
    type: "counter",
    help: "CPU time of invocations, as well as it can be known.",
  },
  mayfly_subrequests_total: {
    type: "counter",
    help: "Calls of hosts and of other workers by workers.",
  },
  mayfly_binding_operations_total: { type: "counter", help: "Operations of workers' bindings." },
  mayfly_request_bytes_total: { type: "counter", help: "Bytes of request bodies." },
  mayfly_response_bytes_total: { type: "counter", help: "Bytes of response bodies." },
  mayfly_error_answers_total: {
    type: "counter",
    help: "Answers of the platform in place of a worker's.",
  },
  mayfly_invocations_in_flight: { type: "gauge", help: "Invocations that have not ended." },
  mayfly_isolates: { type: "gauge", help: "Isolates." },
  mayfly_spare_isolates: { type: "gauge", help: "Isolates started ahead and unused." },
  mayfly_heap_cage_bytes: { type: "gauge", help: "Estimate of the heap cage in use." },
  mayfly_isolates_started_total: { type: "counter", help: "Isolates started." },
  mayfly_isolates_evicted_total: { type: "counter", help: "Isolates evicted." },
  mayfly_isolate_start_duration_seconds: {
    type: "histogram",
    help: "Time that it took to start isolates ahead.",
    boundsMs: TO_30_SECONDS,
  },
  mayfly_state_call_duration_seconds: {
    type: "histogram",
    help: "Time that state took to answer, as executors see it.",
    boundsMs: TO_30_SECONDS,
  },
  mayfly_shard_call_duration_seconds: {
    type: "histogram",
    help: "Time that shards took to answer, as executors see it.",
    boundsMs: TO_30_SECONDS,
  },
  mayfly_events_total: { type: "counter", help: "Batches and cron runs given to workers." },
  mayfly_queue_messages_sent_total: { type: "counter", help: "Messages put into queues." },
  mayfly_queue_messages_settled_total: {
    type: "counter",
    help: "What became of messages that were delivered, pulled or over their time.",
  },
  mayfly_queue_backlog_messages: { type: "gauge", help: "Messages that wait in the queue." },
  mayfly_queue_backlog_bytes: { type: "gauge", help: "Bytes of messages that wait in the queue." },
  mayfly_queue_oldest_message_age_seconds: {
    type: "gauge",
    help: "Age of the queue's oldest message; 0 if there is none.",
  },
  mayfly_cron_lateness_seconds: {
    type: "histogram",
    help: "Time from the slot of a cron to the beginning of its run.",
    boundsMs: TO_A_DAY,
  },
  mayfly_cron_slots_missed_total: {
    type: "counter",
    help: "Slots that were not begun in time. Several that a cron has missed in a row count once.",
  },
  mayfly_cron_slots_caught_up_total: {
    type: "counter",
    help: "Missed slots that were run after all.",
  },
  mayfly_reports_delayed_total: {
    type: "counter",
    help: "Reports of usage and logs that state did not take at once.",
  },
  mayfly_logs_kept_total: { type: "counter", help: "Invocations kept with their logs." },
  mayfly_logs_dropped_total: { type: "counter", help: "Invocations not kept, as too many waited." },
  mayfly_spans_exported_total: { type: "counter", help: "Spans that the collector has taken." },
  mayfly_spans_dropped_total: { type: "counter", help: "Spans that it will not get." },
  mayfly_executors: {
    type: "gauge",
    help: "Executors that answer, without the two for what runs apart.",
  },
  mayfly_shards: { type: "gauge", help: "Shards that answer." },
  mayfly_process_memory_bytes: { type: "gauge", help: "Memory of the process that is its own." },
  mayfly_process_cpu_seconds_total: {
    type: "counter",
    help: "CPU time of all processes of the name.",
  },
  mayfly_process_restarts_total: {
    type: "counter",
    help: "How often the process was started again.",
  },
} as const satisfies Record<string, Metric>;

export type MetricName = keyof typeof METRICS;

/** Metrics of one type. */
export type MetricOf<Type extends Metric["type"]> = {
  [Name in MetricName]: (typeof METRICS)[Name]["type"] extends Type ? Name : never;
}[MetricName];

/** See `Metric.boundsMs`. */
export const boundsOf = (name: MetricOf<"histogram">): readonly number[] => METRICS[name].boundsMs;
