/** From the first to before the second, in minutes since 1970. */
export interface TimeRange {
  since: number;
  until: number;
}

/** What `toMinute` takes, to complete "must be …". */
export const TIMES =
  'a time such as "2026-11-01" or "2026-11-01T12:30Z" (UTC without an offset), "month" or "day" for the ' +
  'beginning of this one, or as much time ago as "90m", "24h" or "7d"';

const MINUTE_MS = 60_000;
const UNITS_MS = { m: MINUTE_MS, h: 60 * MINUTE_MS, d: 24 * 60 * MINUTE_MS };
const ABSOLUTE = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/;
const AGO = /^(\d{1,6})([mhd])$/;

/** The time that the text means, in milliseconds since 1970; undefined if it means none. */
export function toTime(text: string, now: number): number | undefined {
  const [, count, unit] = AGO.exec(text) ?? [];
  if (count) return now - Number(count) * UNITS_MS[unit as keyof typeof UNITS_MS];
  const today = new Date(now).toISOString().slice(0, "2026-11-01".length);
  if (text === "day") return Date.parse(today);
  if (text === "month") return Date.parse(`${today.slice(0, "2026-11".length)}-01`);
  if (!ABSOLUTE.test(text)) return undefined;
  // Without an offset it would be the local time of this machine.
  const inUtc = /T[^Z+-]*$/.test(text) ? `${text}Z` : text;
  const time = Date.parse(inUtc);
  return Number.isNaN(time) ? undefined : time;
}

/** The minutes between two times: the first one's whole, up to the end of the one before the second. */
export const toRange = (since: number, until: number): TimeRange => ({
  since: Math.floor(since / MINUTE_MS),
  until: Math.ceil(until / MINUTE_MS),
});

/** When the minute begins, as text. */
export const minuteToText = (minute: number): string => new Date(minute * MINUTE_MS).toISOString();
