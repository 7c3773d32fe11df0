/**
 * What this process counts for the metrics. Counters are made once; counting is adding to a number. What has
 * been counted leaves the process with its next report (`usage/report.ts`) and is added up in state, so that
 * no counter goes back when a process ends.
 */
import { boundsOf, METRICS, type MetricName, type MetricOf } from "./definitions.ts";
import {
  addValue,
  emptyDistribution,
  observe,
  toText,
  type Distribution,
  type Labels,
  type SeriesValues,
} from "./series.ts";

/** A number that only grows. */
export interface Counter {
  value: number;
}

/** Takes values in milliseconds. */
export interface Histogram {
  observe(ms: number): void;
}

interface Counting {
  /** Whether anything has been counted since it was last taken. */
  isPending(): boolean;
  /** What has been counted since the last call; undefined if nothing. */
  take(): number | Distribution | undefined;
}

const all: { name: MetricOf<"counter" | "histogram">; labels: string; counting: Counting }[] = [];

export function counter(name: MetricOf<"counter">, labels: Labels = {}): Counter {
  const made = {
    value: 0,
    isPending: (): boolean => made.value > 0,
    take(): number | undefined {
      const { value } = made;
      made.value = 0;
      return value || undefined;
    },
  };
  all.push({ name, labels: toText(labels), counting: made });
  return made;
}

export function histogram(name: MetricOf<"histogram">, labels: Labels = {}): Histogram {
  const bounds = boundsOf(name);
  let counts: Distribution | undefined;
  const made = {
    observe: (ms: number): void => observe((counts ??= emptyDistribution(name)), bounds, ms),
    isPending: (): boolean => counts !== undefined,
    take(): Distribution | undefined {
      const taken = counts;
      counts = undefined;
      return taken;
    },
  };
  all.push({ name, labels: toText(labels), counting: made });
  return made;
}

/**
 * Counters of one metric, by what they are asked for. Those of the `keys` are there before they have counted
 * anything.
 */
export function countersBy<Key extends string>(
  name: MetricOf<"counter">,
  toLabels: (key: Key) => Labels,
  keys: Key[] = [],
): (key: Key) => Counter {
  const made = new Map(keys.map((key) => [key, counter(name, toLabels(key))]));
  return (key) => {
    let known = made.get(key);
    if (!known) made.set(key, (known = counter(name, toLabels(key))));
    return known;
  };
}

/** Has the time taken until there is an answer, or none can come. */
export function timed<T>(histogram: Histogram, answer: Promise<T>): Promise<T> {
  const begun = Date.now();
  const over = (): void => histogram.observe(Date.now() - begun);
  answer.then(over, over);
  return answer;
}

/** A 0 for each counter there is, in whatever process it counts. */
export function zeros(): SeriesValues {
  const series: SeriesValues = {};
  for (const { name, labels } of all) {
    const zero = isHistogram(name) ? emptyDistribution(name) : 0;
    addValue(series, name, labels, zero);
  }
  return series;
}

const isHistogram = (name: MetricName): name is MetricOf<"histogram"> =>
  METRICS[name].type === "histogram";

/** Whether anything has been counted since all was last taken. */
export const hasCounted = (): boolean => all.some(({ counting }) => counting.isPending());

/** All that has been counted since the last call; undefined if nothing. */
export function takeCounted(): SeriesValues | undefined {
  let counted: SeriesValues | undefined;
  for (const { name, labels, counting } of all) {
    const value = counting.take();
    if (value !== undefined) addValue((counted ??= {}), name, labels, value);
  }
  return counted;
}
