import { addValue, toText, type SeriesValues } from "./series.ts";

/** What the supervisor knows of the processes of one name. */
export interface ProcessReport {
  memory_bytes?: number;
  /** Of all that have had the name. */
  cpu_seconds: number;
  /** How often it was started again, by reason. */
  restarts: Record<string, number>;
}

let processes: Record<string, ProcessReport> = {};

/** Keeps what the supervisor says, by the processes' names. */
export function reportProcesses(reports: Record<string, ProcessReport>): void {
  processes = reports;
}

/** The same as series. */
export function processSeries(): SeriesValues {
  const series: SeriesValues = {};
  for (const [process, { memory_bytes, cpu_seconds, restarts }] of Object.entries(processes)) {
    const labels = toText({ process });
    if (memory_bytes !== undefined) {
      addValue(series, "mayfly_process_memory_bytes", labels, memory_bytes);
    }
    addValue(series, "mayfly_process_cpu_seconds_total", labels, cpu_seconds);
    for (const [reason, count] of Object.entries(restarts)) {
      const restarted = toText({ process, reason });
      addValue(series, "mayfly_process_restarts_total", restarted, count);
    }
  }
  return series;
}
