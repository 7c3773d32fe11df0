/** An invocation as the API shows it. */
export interface LoggedInvocation {
  id: string;
  trigger: string | null;
  entrypoint: string | null;
  event:
    | { request: { method: string; url: string } }
    | { cron: string; scheduledTime: number }
    | { queue: string; batchSize: number }
    | { rpcMethod: string }
    | { consumedEvents: unknown[] }
    | null;
  started_at: string;
  outcome: string | null;
  status: number | null;
  wall_time_ms: number;
  truncated: boolean;
  logs: { timestamp: string; level: string; message: unknown[] }[];
  exceptions: { timestamp: string; name: string; message: string; stack?: string }[];
}

type Colour = "red" | "yellow" | "green" | "dim" | "none";
type Paint = (text: string, colour: Colour) => string;

const CODES = { red: 31, yellow: 33, green: 32, dim: 2, none: 0 };

/** Colours text for a terminal, or leaves it as it is. */
export const toPaint =
  (colours: boolean): Paint =>
  (text, colour) =>
    colours && colour !== "none" ? `\x1b[${CODES[colour]}m${text}\x1b[0m` : text;

/** What of an invocation has not been shown; undefined if nothing. */
export function newPart(
  invocation: LoggedInvocation,
  shown: LoggedInvocation | undefined,
): LoggedInvocation | undefined {
  if (!shown) return invocation;
  const logs = invocation.logs.slice(shown.logs.length);
  const exceptions = invocation.exceptions.slice(shown.exceptions.length);
  const same = logs.length === 0 && exceptions.length === 0;
  return same && invocation.outcome === shown.outcome
    ? undefined
    : { ...invocation, logs, exceptions };
}

/** The invocation in a line, and what it has written in further ones. */
export function toText(invocation: LoggedInvocation, paint: Paint): string {
  const { started_at, outcome, status, wall_time_ms, id, truncated } = invocation;
  const [word, colour] = describeOutcome(outcome);
  const head = [
    paint(localTime(started_at), "dim"),
    paint(word, colour),
    printable(describeEvent(invocation)),
    ...(status === null ? [] : [String(status)]),
    ...(outcome === null ? [] : [`${wall_time_ms} ms`]),
    paint(id, "dim"),
  ];
  const lines = [
    ...invocation.logs.map(({ timestamp, level, message }) =>
      lineToText(timestamp, level, message.map(valueToText).join(" "), paint),
    ),
    ...invocation.exceptions.map(({ timestamp, name, message, stack }) =>
      lineToText(timestamp, "error", exceptionToText(name, message, stack), paint),
    ),
    ...(truncated ? [paint("  There was more than is kept of one invocation.", "dim")] : []),
  ];
  return [head.join("  "), ...lines, ""].join("\n");
}

function describeOutcome(outcome: string | null): [string, Colour] {
  if (outcome === null) return ["not ended", "yellow"];
  if (outcome === "ok") return [outcome, "green"];
  return [outcome, outcome === "canceled" ? "yellow" : "red"];
}

function describeEvent({ event, trigger, entrypoint }: LoggedInvocation): string {
  if (!event) return trigger ?? "invocation";
  if ("request" in event) return `${event.request.method} ${pathOf(event.request.url)}`;
  if ("cron" in event) return `scheduled ${event.cron}`;
  if ("queue" in event) return `queue ${event.queue} (${event.batchSize})`;
  if ("rpcMethod" in event) return `rpc ${entrypoint ?? "default"}.${event.rpcMethod}`;
  return trigger ?? "invocation";
}

const pathOf = (url: string): string => url.replace(/^\w+:\/\/[^/?#]*/, "") || "/";

const LEVEL_COLOURS: Record<string, Colour> = { error: "red", warn: "yellow", debug: "dim" };

function lineToText(timestamp: string, level: string, text: string, paint: Paint): string {
  const time = localTime(timestamp).slice("2026-11-01 ".length);
  const indent = " ".repeat(2 + time.length + 2 + LEVEL_WIDTH);
  const [first, ...others] = printable(text).split("\n");
  const name = paint(level.padEnd(LEVEL_WIDTH), LEVEL_COLOURS[level] ?? "none");
  return [`  ${paint(time, "dim")}  ${name}${first}`, ...others.map((line) => indent + line)].join(
    "\n",
  );
}

const LEVEL_WIDTH = "error  ".length;

const valueToText = (value: unknown): string =>
  typeof value === "string" ? value : JSON.stringify(value);

/** Some stacks begin with name and message. */
function exceptionToText(name: string, message: string, stack = ""): string {
  const title = `${name}: ${message}`;
  return stack.startsWith(title) || stack === "" ? stack || title : `${title}\n${stack}`;
}

/** What workers write must not tell the terminal what to do. */
const printable = (text: string): string =>
  text.replace(
    // oxlint-disable-next-line no-control-regex
    /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );

/** `2026-11-01 12:30:00.000` */
function localTime(iso: string): string {
  const time = new Date(iso);
  const local = new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString();
  return local.slice(0, "2026-11-01T12:30:00.000".length).replace("T", " ");
}
