const DAY_MS = 24 * 60 * 60 * 1000;

/** A day in UTC, such as 2026-11-21. */
export type Day = string;

/** The day that was over at the time, which is in milliseconds since 1970. */
export const dayBefore = (time: number): Day => new Date(time - DAY_MS).toISOString().slice(0, 10);

/** When the day begins and when the next one does, as ISO 8601. */
export function boundsOf(day: Day): { from: string; to: string } {
  const from = new Date(`${day}T00:00:00.000Z`);
  return { from: from.toISOString(), to: new Date(from.getTime() + DAY_MS).toISOString() };
}
