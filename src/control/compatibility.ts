import { ApiError, invalid, notBuilt } from "./error.ts";

/**
 * For uploads that name no date, such as the draft that `wrangler secret put` makes of a script
 * that does not exist yet. It is also the oldest there is, as on Cloudflare.
 */
export const OLDEST_COMPATIBILITY_DATE = "2021-11-02";

/** Throws 10021 unless the runtime's behaviour can be that of the date. */
export function checkCompatibilityDate(date: string, today: string): void {
  const parsed = new Date(`${date}T00:00:00Z`);
  const exists = !Number.isNaN(parsed.getTime()) && parsed.toISOString().slice(0, 10) === date;
  if (!exists) throw invalid(10021, "compatibility_date", date, "a date as YYYY-MM-DD");
  if (date > today) {
    throw new ApiError(
      400,
      10021,
      `compatibility_date: Can't set compatibility date in the future: ${date}, today is ${today}`,
    );
  }
  if (date < OLDEST_COMPATIBILITY_DATE) {
    throw invalid(10021, "compatibility_date", date, `${OLDEST_COMPATIBILITY_DATE} or later`);
  }
}

/** Throws 10021 for flags that the edge would refuse; what flags there are, the runtime knows. */
export function checkCompatibilityFlags(flags: string[]): void {
  if (flags.includes("experimental")) {
    throw notBuilt("compatibility_flags", `"experimental" is`);
  }
  const repeated = flags.find((flag, index) => flags.indexOf(flag) !== index);
  if (repeated !== undefined) {
    throw invalid(10021, "compatibility_flags", repeated, "given once");
  }
}
