/**
 * A strict reader of Prometheus' text format, version 0.0.4. Throws for whatever a scraper might stumble over,
 * and for what good manners forbid: series without HELP and TYPE, metrics that are not in one piece, series
 * that come twice, counters without `_total`, histograms that do not add up.
 */

/** One line of the text: a value. */
export interface ReadSeries {
  name: string;
  labels: Record<string, string>;
  value: number;
}

export interface ReadMetric {
  name: string;
  type: "counter" | "gauge" | "histogram";
  help: string;
  series: ReadSeries[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const NUMBER = /^(?:[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|NaN)$/;

/** The metrics of a text, by name. */
export function readExposition(text: string): Map<string, ReadMetric> {
  if (text === "") return new Map();
  if (!text.endsWith("\n")) throw new Error("The last line does not end");
  const metrics = new Map<string, ReadMetric>();
  let current: ReadMetric | undefined;
  let help: [name: string, text: string] | undefined;
  for (const line of text.slice(0, -1).split("\n")) {
    const [, keyword, name = "", rest = ""] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    if (keyword === "HELP") {
      if (help || metrics.has(name) || !NAME.test(name)) throw new Error(`Not here: ${line}`);
      help = [name, rest];
    } else if (keyword === "TYPE") {
      if (help?.[0] !== name || !/^(?:counter|gauge|histogram)$/.test(rest)) {
        throw new Error(`Not here: ${line}`);
      }
      current = { name, type: rest as ReadMetric["type"], help: help[1], series: [] };
      metrics.set(name, current);
      help = undefined;
    } else {
      if (!current || help) throw new Error(`Without HELP and TYPE: ${line}`);
      current.series.push(readLine(line, current));
    }
  }
  for (const metric of metrics.values()) check(metric);
  return metrics;
}

function readLine(line: string, { name, type }: ReadMetric): ReadSeries {
  const [, found = "", labels = "", value = ""] = /^([^{ ]+)(\{.*\})? (\S+)$/.exec(line) ?? [];
  const suffix = found.startsWith(name) ? found.slice(name.length) : "?";
  const suffixes = type === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
  if (!suffixes.includes(suffix)) throw new Error(`Not of ${name}: ${line}`);
  if (!NUMBER.test(value)) throw new Error(`Not a number: ${line}`);
  const number = Number(value.replace("Inf", "Infinity"));
  return { name: found, labels: readLabels(labels), value: number };
}

function readLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  if (text === "") return labels;
  let rest = text.slice(1, -1);
  for (;;) {
    const [all, name = "", value = ""] =
      /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"/.exec(rest) ?? [];
    if (all === undefined || name in labels) throw new Error(`Not labels: ${text}`);
    labels[name] = value.replace(/\\(.)/g, (_, character: string) =>
      character === "n" ? "\n" : character,
    );
    rest = rest.slice(all.length);
    if (rest === "") return labels;
    if (!rest.startsWith(",")) throw new Error(`Not labels: ${text}`);
    rest = rest.slice(1);
  }
}

function check({ name, type, series }: ReadMetric): void {
  if (series.length === 0) throw new Error(`Without series: ${name}`);
  const keys = series.map(({ name, labels }) => `${name} ${keyOf(labels)}`);
  if (new Set(keys).size !== keys.length) throw new Error(`Series that come twice: ${name}`);
  if ((type === "counter") !== name.endsWith("_total")) throw new Error(`Not a name: ${name}`);
  if (type !== "gauge" && series.some(({ value }) => !(value >= 0))) {
    throw new Error(`Cannot be negative: ${name}`);
  }
  if (type === "histogram") checkHistogram(name, series);
}

const keyOf = (labels: Record<string, string>): string =>
  JSON.stringify(Object.entries(labels).sort());

const grows = (values: number[]): boolean =>
  values.every((value, at) => at === 0 || value >= (values[at - 1] as number));

function checkHistogram(name: string, series: ReadSeries[]): void {
  const groups = Object.groupBy(series, ({ labels }) => keyOf({ ...labels, le: "" }));
  for (const [key, lines = []] of Object.entries(groups)) {
    const named = (suffix: string): ReadSeries[] =>
      lines.filter((line) => line.name === `${name}_${suffix}`);
    const buckets = named("bucket");
    const bounds = buckets.map(({ labels }) => Number(labels["le"]?.replace("+Inf", "Infinity")));
    const counts = buckets.map(({ value }) => value);
    const [count, ...more] = named("count");
    const fits =
      grows(bounds) &&
      bounds.at(-1) === Infinity &&
      grows(counts) &&
      count?.value === counts.at(-1) &&
      more.length === 0 &&
      named("sum").length === 1;
    if (!fits) throw new Error(`Does not add up: ${name} ${key}`);
  }
}
