/** What a budget is for: a day or a month of UTC. */
export type Period = "day" | "month";

/** When the period that `now` is in began, in milliseconds since 1970. */
export function startOf(period: Period, now: number): number {
  const date = new Date(now);
  return Date.UTC(
    date.getUTCFullYear(),
    date.getUTCMonth(),
    period === "day" ? date.getUTCDate() : 1,
  );
}

/** When the next one begins. */
export function endOf(period: Period, now: number): number {
  const date = new Date(startOf(period, now));
  return period === "day"
    ? date.setUTCDate(date.getUTCDate() + 1)
    : date.setUTCMonth(date.getUTCMonth() + 1);
}
