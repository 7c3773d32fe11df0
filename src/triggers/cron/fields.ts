/** One of the five fields: what it may hold, as https://developers.cloudflare.com/workers/configuration/cron-triggers/ lists it. */
interface Field {
  name: string;
  min: number;
  max: number;
  /** Names of the values, beginning with that of `min`. */
  names?: string[];
  /** Completes "must be …". */
  allowed: string;
}

const MINUTE: Field = { name: "minute", min: 0, max: 59, allowed: "0-59 with * , - /" };
const HOUR: Field = { name: "hour", min: 0, max: 23, allowed: "0-23 with * , - /" };
const DAY_OF_MONTH: Field = {
  name: "day of month",
  min: 1,
  max: 31,
  allowed: "1-31 with * , - /, or one of L, LW, L-<1-30>, L-<1-30>W and <1-31>W",
};
const MONTH: Field = {
  name: "month",
  min: 1,
  max: 12,
  names: ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
  allowed: "1-12 or JAN-DEC with * , - /",
};
const DAY_OF_WEEK: Field = {
  name: "day of week",
  min: 1,
  max: 7,
  names: ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
  allowed: "1-7 (1 is Sunday) or SUN-SAT with * , - /, or one of L, <day>L and <day>#<1-5>",
};

/** A cron expression cannot be understood. The message names the field, its value and what is allowed. */
export class CronError extends Error {
  override readonly name = "CronError";

  constructor(expression: string, field: string, value: string, allowed: string) {
    super(
      `invalid cron string ${JSON.stringify(expression)}: ${field}: got ${JSON.stringify(value)}, must be ${allowed}`,
    );
  }
}

/** The values that a field names, or `*` for all of them. */
type Values = "*" | number[];

/** What an expression says, field by field. */
export interface CronFields {
  minute: Values;
  hour: Values;
  dayOfMonth: Values | LastDay | { nearestWeekdayTo: number };
  month: Values;
  dayOfWeek: Values | { day: number; nth: number | "last" };
}

/** So many days before the last of the month, or the weekday nearest to that day. */
export interface LastDay {
  daysBeforeLast: number;
  nearestWeekday: boolean;
}

/** Reads an expression of five fields. Throws a CronError for the first field that is wrong. */
export function parseFields(expression: string): CronFields {
  const texts = expression.split(/[ \t]+/);
  const [minute = "", hour = "", dayOfMonth = "", month = "", dayOfWeek = ""] = texts;
  if (texts.length !== 5 || texts.includes("")) {
    const allowed = "five: minute, hour, day of month, month, day of week";
    throw new CronError(expression, "fields", expression, allowed);
  }
  const read = <T>(field: Field, text: string, parse: (field: Field, text: string) => T): T => {
    try {
      return parse(field, text);
    } catch (error) {
      if (error !== INVALID) throw error;
      throw new CronError(expression, field.name, text, field.allowed);
    }
  };
  return {
    minute: read(MINUTE, minute, parseValues),
    hour: read(HOUR, hour, parseValues),
    dayOfMonth: read(DAY_OF_MONTH, dayOfMonth, parseDayOfMonth),
    month: read(MONTH, month, parseValues),
    dayOfWeek: read(DAY_OF_WEEK, dayOfWeek, parseDayOfWeek),
  };
}

// Thrown by the functions below, which know nothing of the expression.
const INVALID = new Error("invalid");

function parseDayOfMonth(field: Field, text: string): CronFields["dayOfMonth"] {
  const last = /^L(?:-(\d+))?(W)?$/.exec(text);
  if (last) {
    const [, before, weekday] = last;
    // Counted from the last day, so that one more than 30 would be in no month.
    const daysBeforeLast = before === undefined ? 0 : within(1, field.max - 1, before);
    return { daysBeforeLast, nearestWeekday: weekday !== undefined };
  }
  if (!text.endsWith("W")) return parseValues(field, text);
  return { nearestWeekdayTo: parseValue(field, text.slice(0, -1)) };
}

function parseDayOfWeek(field: Field, text: string): CronFields["dayOfWeek"] {
  if (text === "L") return [field.max];
  if (text.endsWith("L")) return { day: parseValue(field, text.slice(0, -1)), nth: "last" };
  const [day, nth, ...others] = text.split("#");
  if (nth === undefined) return parseValues(field, text);
  if (others.length > 0) throw INVALID;
  return { day: parseValue(field, day ?? ""), nth: within(1, 5, nth) };
}

function parseValues(field: Field, text: string): Values {
  if (text === "*") return "*";
  const values = new Set(text.split(",").flatMap((item) => parseItem(field, item)));
  return [...values].sort((a, b) => a - b);
}

/** A value, a range or a step. A range that ends before it begins goes on at the field's first value. */
function parseItem(field: Field, item: string): number[] {
  const { min, max } = field;
  const [range = "", step, ...others] = item.split("/");
  const [from = "", to, ...more] = range.split("-");
  if (others.length > 0 || more.length > 0 || (range === "*" && step === undefined)) throw INVALID;
  const first = range === "*" ? min : parseValue(field, from);
  const last = to === undefined ? (step === undefined ? first : max) : parseValue(field, to);
  const every = step === undefined ? 1 : within(1, max - min, step);
  const size = max - min + 1;
  const count = (last - first + size) % size;
  const values = [];
  for (let offset = 0; offset <= count; offset += every) {
    values.push(min + ((first - min + offset) % size));
  }
  return values;
}

function parseValue({ min, max, names }: Field, text: string): number {
  const index = names?.indexOf(text.toUpperCase()) ?? -1;
  return index < 0 ? within(min, max, text) : min + index;
}

function within(min: number, max: number, digits: string): number {
  const value = /^\d{1,3}$/.test(digits) ? Number(digits) : NaN;
  if (value >= min && value <= max) return value;
  throw INVALID;
}
