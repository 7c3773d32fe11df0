import type { LoggedException } from "../observed.ts";

/** Lines of kept logs, in the form in which they travel and are stored. */

/** From the least to the most severe; `log` and `info` are as severe as each other. */
export const LEVELS = ["debug", "log", "info", "warn", "error"] as const;
export type Level = (typeof LEVELS)[number];

/**
 * What `text` is, so that most lines are stored once:
 * - `text`: the one argument, a string
 * - `object`: the one argument as JSON, an object whose members are fields
 * - `json`: the one argument, a string that is the JSON of such an object
 * - `list`: the arguments as they are read; `more` has them as JSON
 * - `exception`: its name and message; `more` has a `LoggedException` as JSON
 */
export const FORMS = ["text", "object", "json", "list", "exception"] as const;
export type Form = (typeof FORMS)[number];

/** Level and form by their places above; `at` in milliseconds since 1970. */
export type StoredLine = [level: number, at: number, form: number, text: string, more?: string];

const form = (name: Form): number => FORMS.indexOf(name);
const levelOf = (name: string): number => Math.max(0, LEVELS.indexOf(name as Level));

export function toStoredLine(level: string, at: number, message: unknown[]): StoredLine {
  const [first] = message;
  if (message.length !== 1 || typeof first === "number" || typeof first === "boolean") {
    const text = message.map(toText).join(" ");
    return [levelOf(level), at, form("list"), text, JSON.stringify(message)];
  }
  if (typeof first === "string") {
    return [levelOf(level), at, form(isObjectText(first) ? "json" : "text"), first];
  }
  const isObject = typeof first === "object" && first !== null && !Array.isArray(first);
  const text = JSON.stringify(first);
  return isObject
    ? [levelOf(level), at, form("object"), text]
    : [levelOf(level), at, form("list"), text, JSON.stringify(message)];
}

/** The stack, if there is one, begins with name and message. */
export function toExceptionLine(exception: LoggedException): StoredLine {
  const { name, message, stack, timestamp } = exception;
  const text = `${name}: ${message}`;
  const more = JSON.stringify({ name, message, ...(stack !== undefined && { stack }) });
  return [levelOf("error"), timestamp, form("exception"), text, more];
}

const toText = (value: unknown): string =>
  typeof value === "string" ? value : JSON.stringify(value);

function isObjectText(text: string): boolean {
  if (!text.startsWith("{")) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
