import type { Day } from "./day.ts";

const PREFIX = "reports/";

const TYPES = { html: "text/html; charset=utf-8", csv: "text/csv; charset=utf-8" };

export type Format = keyof typeof TYPES;

const keyOf = (day: Day, format: Format): string => `${PREFIX}${day}.${format}`;

/** Whether the day's report is complete. */
export async function hasReport(bucket: R2Bucket, day: Day): Promise<boolean> {
  return (await bucket.head(keyOf(day, "html"))) !== null;
}

/** Keeps the day's report. The page is written last: once it is there, all is. */
export async function putReport(
  bucket: R2Bucket,
  day: Day,
  contents: Record<Format, string>,
): Promise<void> {
  for (const format of ["csv", "html"] as const) {
    const httpMetadata = { contentType: TYPES[format] };
    await bucket.put(keyOf(day, format), contents[format], { httpMetadata });
  }
}

/** The day's report in one of its formats, or null. */
export async function getReport(
  bucket: R2Bucket,
  day: Day,
  format: Format,
): Promise<R2ObjectBody | null> {
  return bucket.get(keyOf(day, format));
}

/** The days that have a report, in order. */
export async function listDays(bucket: R2Bucket): Promise<Day[]> {
  const days: Day[] = [];
  let cursor: string | undefined;
  do {
    const page = await bucket.list({ prefix: PREFIX, ...(cursor && { cursor }) });
    for (const { key } of page.objects) {
      if (key.endsWith(".html")) days.push(key.slice(PREFIX.length, -".html".length));
    }
    cursor = page.truncated ? page.cursor : undefined;
  } while (cursor);
  return days;
}
