import { setTimeout as sleep } from "node:timers/promises";
import { ApiRefusedError, callApiPage } from "./call-api.ts";
import { HostError } from "./host-error.ts";
import { newPart, toPaint, toText, type LoggedInvocation } from "./logs-text.ts";
import type { Settings } from "./settings.ts";

/** As typed; what is allowed the API says. */
export interface LogsOptions {
  since?: string | undefined;
  until?: string | undefined;
  level?: string | undefined;
  search?: string | undefined;
  invocation?: string | undefined;
  outcome?: string | undefined;
  trigger?: string | undefined;
  field?: string[] | undefined;
  /** Invocations in all; 100 by default. */
  limit?: string | undefined;
  json?: boolean | undefined;
  follow?: boolean | undefined;
}

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 100_000;
const PAGE = 1_000;
const POLL_MS = 1_000;
/** While the platform does not answer, for so long it is asked again. */
const PATIENCE_MS = 60_000;

/**
 * `mayfly logs`: kept invocations of a script of the default account with their lines, the newest last; with
 * `follow`, then what is new, until it is ended.
 */
export async function showLogs(
  settings: Settings,
  script: string,
  { limit, json = false, follow = false, field = [], ...filters }: LogsOptions,
): Promise<void> {
  // Whoever reads this may have seen enough.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
  const query = new URLSearchParams({ script });
  for (const [name, value] of Object.entries(filters)) {
    if (value !== undefined) query.set(name, value);
  }
  for (const filter of field) query.append("field", filter);
  const print = json ? printJson : printerOfText();
  const cursor = await printNewest(settings, query, toLimit(limit), print);
  if (follow) await printNew(settings, query, cursor, print);
}

type Print = (invocations: LoggedInvocation[]) => void;

function toLimit(text: string | undefined): number {
  const limit = Number(text ?? DEFAULT_LIMIT);
  if (Number.isInteger(limit) && limit >= 1 && limit <= MAX_LIMIT) return limit;
  throw new HostError(`--limit: got "${text}", must be a whole number from 1 to ${MAX_LIMIT}`);
}

/** Returns where what is new goes on. */
async function printNewest(
  settings: Settings,
  query: URLSearchParams,
  limit: number,
  print: Print,
): Promise<string> {
  const found: LoggedInvocation[] = [];
  let newer: string | undefined;
  let cursor: string | undefined;
  do {
    const page = await read(settings, query, Math.min(PAGE, limit - found.length), cursor);
    found.push(...page.invocations);
    newer ??= page.newer;
    cursor = page.cursor;
  } while (cursor !== undefined && found.length < limit);
  print(found.toReversed());
  return newer;
}

async function printNew(
  settings: Settings,
  query: URLSearchParams,
  from: string,
  print: Print,
): Promise<never> {
  let cursor = from;
  let answeredAt = Date.now();
  for (;;) {
    await sleep(POLL_MS);
    try {
      let more: string | undefined;
      do {
        const page = await read(settings, query, PAGE, cursor);
        print(page.invocations);
        more = page.cursor;
        cursor = more ?? page.newer;
      } while (more !== undefined);
      answeredAt = Date.now();
    } catch (error) {
      const final = error instanceof ApiRefusedError && error.status < 500;
      if (final || !(error instanceof HostError)) throw error;
      if (Date.now() - answeredAt > PATIENCE_MS) throw error;
    }
  }
}

interface LogsPage {
  invocations: LoggedInvocation[];
  cursor: string | undefined;
  newer: string;
}

async function read(
  settings: Settings,
  query: URLSearchParams,
  limit: number,
  cursor: string | undefined,
): Promise<LogsPage> {
  const asked = new URLSearchParams(query);
  asked.set("limit", String(limit));
  if (cursor !== undefined) asked.set("cursor", cursor);
  const { result, info } = await callApiPage<LoggedInvocation[]>(
    settings,
    "GET",
    `/mayfly/logs?${asked}`,
  );
  return {
    invocations: result,
    cursor: info["cursor"] as string | undefined,
    newer: info["newer_cursor"] as string,
  };
}

// One that has changed is printed again as a whole.
const printJson: Print = (invocations) => {
  for (const invocation of invocations) process.stdout.write(`${JSON.stringify(invocation)}\n`);
};

function printerOfText(): Print {
  const paint = toPaint(process.stdout.isTTY && !process.env["NO_COLOR"]);
  const shown = new Map<string, LoggedInvocation>();
  return (invocations) => {
    for (const invocation of invocations) {
      const part = newPart(invocation, shown.get(invocation.id));
      shown.delete(invocation.id);
      shown.set(invocation.id, invocation);
      if (part) process.stdout.write(toText(part, paint));
    }
    // What has been over for long does not change any more.
    for (const id of shown.keys()) {
      if (shown.size <= PAGE) break;
      shown.delete(id);
    }
  };
}
