/** Lines of kept logs, in the form in which they travel and are stored. */
import type { LoggedException } from "../observed.ts";

/** From the least to the most severe; `log` and `info` are as severe as each other. */
export const LEVELS = ["debug", "log", "info", "warn", "error"] as const;
export type Level = (typeof LEVELS)[number];

/**
 * What a line's text is:
 * - `text`: the one argument, a string
 * - `object`: the JSON of the one argument, an object whose members are fields
 * - `json`: the one argument, a string that is such JSON
 * - `list`: the JSON of the array of arguments
 * - `exception`: the JSON of a `LoggedException`
 */
export const FORMS = ["text", "object", "json", "list", "exception"] as const;
export type Form = (typeof FORMS)[number];

/** Level and form by their places above; `at` in milliseconds since 1970. */
export type StoredLine = [level: number, at: number, form: number, text: string];

export const formOf = (name: Form): number => FORMS.indexOf(name);
const levelOf = (name: string): number => Math.max(0, LEVELS.indexOf(name as Level));

export function toStoredLine(level: string, at: number, message: unknown[]): StoredLine {
  const [form, text] = toForm(message);
  return [levelOf(level), at, formOf(form), text];
}

export function toExceptionLine({ timestamp, ...exception }: LoggedException): StoredLine {
  return [levelOf("error"), timestamp, formOf("exception"), JSON.stringify(exception)];
}

function toForm(message: unknown[]): [Form, string] {
  const [only] = message;
  if (message.length === 1 && typeof only === "string") {
    return [isObjectText(only) ? "json" : "text", only];
  }
  const isObject = typeof only === "object" && only !== null && !Array.isArray(only);
  return message.length === 1 && isObject
    ? ["object", JSON.stringify(only)]
    : ["list", JSON.stringify(message)];
}

function isObjectText(text: string): boolean {
  if (!text.startsWith("{")) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The arguments of a line that is no exception. */
export function messageOf(form: number, text: string): unknown[] {
  const name = FORMS[form];
  if (name === "list") return JSON.parse(text) as unknown[];
  return [name === "object" ? JSON.parse(text) : text];
}

/** What a line that is JSON says, by name; undefined for others. */
export function fieldsOf(form: number, text: string): Record<string, unknown> | undefined {
  const name = FORMS[form];
  return name === "object" || name === "json"
    ? (JSON.parse(text) as Record<string, unknown>)
    : undefined;
}

/** The line as it is read. */
export function readableText(form: number, text: string): string {
  switch (FORMS[form]) {
    case "list":
      return messageOf(form, text).map(valueText).join(" ");
    case "exception": {
      const { name, message, stack = "" } = JSON.parse(text) as LoggedException;
      return `${name}: ${message}\n${stack}`;
    }
    default:
      return text;
  }
}

const valueText = (value: unknown): string =>
  typeof value === "string" ? value : JSON.stringify(value);
