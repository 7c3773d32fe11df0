import { boundsOf, METRICS, type MetricName, type MetricOf } from "./definitions.ts";

/** Values by name. Names and values are the platform's own but for names of scripts and the like. */
export type Labels = Readonly<Record<string, string>>;

/** The number of values within each bound of a histogram, of those above all, and at last their sum. */
export type Distribution = number[];

/** What is known of one series: its value, or its distribution if it is a histogram. */
export type Value = number | Distribution;

/** Values by the name of the metric and then by its labels as text. */
export type SeriesValues = Partial<Record<MetricName, Record<string, Value>>>;

/** The labels as they are written between braces. */
export const toText = (labels: Labels): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}="${value.replace(/[\\"\n]/g, escape)}"`)
    .join(",");

const escape = (character: string): string => (character === "\n" ? "\\n" : `\\${character}`);

export const emptyDistribution = (name: MetricOf<"histogram">): Distribution =>
  Array.from({ length: boundsOf(name).length + 2 }, () => 0);

/** Enters a value, in milliseconds. */
export function observe(distribution: Distribution, bounds: readonly number[], ms: number): void {
  let at = 0;
  while (at < bounds.length && ms > (bounds[at] as number)) at++;
  (distribution[at] as number)++;
  (distribution[bounds.length + 1] as number) += ms;
}

/** Adds what has been counted to what was known. */
export function addSeries(known: SeriesValues, counted: SeriesValues): void {
  for (const [name, values] of Object.entries(counted)) {
    for (const [labels, value] of Object.entries(values)) {
      addValue(known, name as MetricName, labels, value);
    }
  }
}

export function addValue(
  known: SeriesValues,
  name: MetricName,
  labels: string,
  value: Value,
): void {
  const values = (known[name] ??= {});
  const before = values[labels];
  if (typeof value === "number") values[labels] = ((before as number | undefined) ?? 0) + value;
  else {
    values[labels] = value.map((count, at) => count + ((before as Distribution)?.[at] ?? 0));
  }
}

/** All in Prometheus' text format, version 0.0.4. Metrics without a series are left out. */
export function toExposition(series: SeriesValues): string {
  const lines = Object.entries(METRICS).flatMap(([key, { type, help }]) => {
    const name = key as MetricName;
    const values = Object.entries(series[name] ?? {});
    if (values.length === 0) return [];
    return [
      `# HELP ${name} ${help}`,
      `# TYPE ${name} ${type}`,
      ...values.flatMap(([labels, value]) =>
        typeof value === "number"
          ? line(name, labels, value)
          : toBuckets(name as MetricOf<"histogram">, labels, value),
      ),
    ];
  });
  return lines.map((line) => `${line}\n`).join("");
}

const line = (name: string, labels: string, value: number): string =>
  labels ? `${name}{${labels}} ${value}` : `${name} ${value}`;

function toBuckets(name: MetricOf<"histogram">, labels: string, counts: Distribution): string[] {
  const before = labels && `${labels},`;
  const bounds = boundsOf(name).map((ms) => String(ms / 1000));
  let count = 0;
  return [
    ...[...bounds, "+Inf"].map((bound, at) =>
      line(`${name}_bucket`, `${before}le="${bound}"`, (count += counts[at] ?? 0)),
    ),
    line(`${name}_sum`, labels, (counts.at(-1) ?? 0) / 1000),
    line(`${name}_count`, labels, count),
  ];
}
