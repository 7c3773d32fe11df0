/**
 * When a cron is due: Cloudflare's dialect on top of `croner`. Its own dialect differs in what it
 * takes, so an expression is read by `parseFields` and handed over with every value spelt out.
 */
import { Cron } from "croner";
import { CronError, parseFields, type CronFields, type LastDay } from "./fields.ts";

/** Far more than any expression needs; longer ones are mistakes. */
const MAX_EXPRESSION_LENGTH = 256;

/** Slots are whole minutes in UTC, given in milliseconds since 1970. */
export interface CronSchedule {
  /** The first slot after the time, or undefined if there is none. */
  next(after: number): number | undefined;
  /** At most `count` slots that are not after the time: the newest, in order. */
  latest(upTo: number, count: number): number[];
}

/** The schedule of an expression. Throws a CronError if it is none, or never due. */
export function parseCron(expression: string): CronSchedule {
  if (expression.length > MAX_EXPRESSION_LENGTH) {
    const allowed = `at most ${MAX_EXPRESSION_LENGTH} characters`;
    throw new CronError(expression.slice(0, 40), "length", `${expression.length}`, allowed);
  }
  const crons = toPatterns(parseFields(expression)).map(
    // Seconds and years are given, and days of the week count from 1 as Cloudflare's do.
    (pattern) => new Cron(pattern, { mode: "7-part", alternativeWeekdays: true, utcOffset: 0 }),
  );
  const schedule: CronSchedule = {
    next(after) {
      const slots = crons.flatMap((cron) => cron.nextRun(new Date(after))?.getTime() ?? []);
      return slots.length > 0 ? Math.min(...slots) : undefined;
    },
    latest(upTo, count) {
      // croner counts in whole seconds and leaves out the one that it is given.
      const before = new Date(Math.floor(upTo / 1000) * 1000 + 1000);
      const slots = crons.flatMap((cron) => cron.previousRuns(count, before).map(Number));
      return [...new Set(slots)].sort((a, b) => a - b).slice(-count);
    },
  };
  if (schedule.next(Date.now()) === undefined) {
    const [, , day = "", month = ""] = expression.split(/[ \t]+/);
    const allowed = "a day that occurs in one of the months";
    throw new CronError(expression, "day of month", `${day} ${month}`, allowed);
  }
  return schedule;
}

// Of the four centuries that croner looks ahead.
const LEAP_YEARS = "1972-2096/4,2104-2196/4,2204-2296/4,2304-2396/4";
const OTHER_YEARS = "1970-2398/4,1971-2399/4,1973-2397/4,2100,2200,2300";

/** The expression in croner's dialect. It is due when one of the patterns is. */
function toPatterns({ minute, hour, dayOfMonth, month, dayOfWeek }: CronFields): string[] {
  const pattern = (day: string, months: string, weekday: string, years: string): string =>
    `0 ${toList(minute)} ${toList(hour)} ${day} ${months} ${weekday} ${years}`;
  const weekday = toWeekday(dayOfWeek);
  if (dayOfMonth === "*" || Array.isArray(dayOfMonth)) {
    return [pattern(toList(dayOfMonth), toList(month), weekday, "*")];
  }
  if ("nearestWeekdayTo" in dayOfMonth) {
    return [pattern(`${dayOfMonth.nearestWeekdayTo}W`, toList(month), weekday, "*")];
  }
  if (dayOfMonth.daysBeforeLast === 0) {
    return [pattern(dayOfMonth.nearestWeekday ? "LW" : "L", toList(month), weekday, "*")];
  }
  const patterns = lastDays(dayOfMonth, month).map(({ day, months, years }) =>
    pattern(day, months, "*", years),
  );
  // With both kinds of days given, either of them is enough.
  if (dayOfWeek !== "*") patterns.push(pattern("*", toList(month), weekday, "*"));
  return patterns;
}

/** Days counted from the end of the month, which croner cannot say: as days of months of one length. */
function lastDays(
  { daysBeforeLast, nearestWeekday }: LastDay,
  month: CronFields["month"],
): { day: string; months: string; years: string }[] {
  const lengths = [
    { length: 31, months: [1, 3, 5, 7, 8, 10, 12], years: "*" },
    { length: 30, months: [4, 6, 9, 11], years: "*" },
    { length: 29, months: [2], years: LEAP_YEARS },
    { length: 28, months: [2], years: OTHER_YEARS },
  ];
  return lengths.flatMap(({ length, months, years }) => {
    const given = months.filter((number) => month === "*" || month.includes(number));
    const day = length - daysBeforeLast;
    if (given.length === 0 || day < 1) return [];
    return [{ day: nearestWeekday ? `${day}W` : `${day}`, months: given.join(","), years }];
  });
}

const toList = (values: "*" | number[]): string => (values === "*" ? "*" : values.join(","));

function toWeekday(dayOfWeek: CronFields["dayOfWeek"]): string {
  if (dayOfWeek === "*" || Array.isArray(dayOfWeek)) return toList(dayOfWeek);
  const { day, nth } = dayOfWeek;
  return nth === "last" ? `${day}L` : `${day}#${nth}`;
}
