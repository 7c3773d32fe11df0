import { readExposition, type ReadMetric } from "./exposition.ts";
import type { Platform } from "./platform.ts";

/** The platform's metrics at this moment, by name. */
export async function readMetrics(
  { url, token }: Pick<Platform, "url" | "token">,
  withToken = token,
): Promise<Map<string, ReadMetric>> {
  const response = await fetch(`${url}/_mayfly/metrics`, {
    headers: { authorization: `Bearer ${withToken}` },
  });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`The metrics answered ${response.status}: ${text}`);
  return readExposition(text);
}

/** Sum of a metric's series that have the labels; undefined if there are none. Of a histogram: its counts. */
export function sumOf(
  metrics: Map<string, ReadMetric>,
  name: string,
  labels: Record<string, string> = {},
): number | undefined {
  const metric = metrics.get(name);
  const values = metric?.series
    .filter((series) => metric.type !== "histogram" || series.name.endsWith("_count"))
    .filter((series) =>
      Object.entries(labels).every(([key, value]) => series.labels[key] === value),
    )
    .map(({ value }) => value);
  return values?.length ? values.reduce((sum, value) => sum + value, 0) : undefined;
}

/** The same, of the metrics at this moment. */
export const metric = async (
  platform: Pick<Platform, "url" | "token">,
  name: string,
  labels?: Record<string, string>,
): Promise<number | undefined> => sumOf(await readMetrics(platform), name, labels);
