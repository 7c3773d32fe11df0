/** From the first millisecond since 1970 to before the second, in UTC. */
export interface Month {
  from: number;
  to: number;
}

/** The month that a text such as "2026-11" means; undefined if it means none. */
export function parseMonth(text: string): Month | undefined {
  const [, year = "", month = ""] = /^(\d{4})-(\d\d)$/.exec(text) ?? [];
  if (month < "01" || month > "12") return undefined;
  return { from: Date.UTC(+year, +month - 1), to: Date.UTC(+year, +month) };
}

export const monthOf = (time: number): string =>
  new Date(time).toISOString().slice(0, "2026-11".length);
