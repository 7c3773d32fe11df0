import type { LoggedException } from "../observed.ts";
import type { KeptRest } from "./kept-row.ts";
import { fieldsOf, FORMS, LEVELS, messageOf, readableText } from "./line.ts";
import type { FieldFilter, LogsCursor, LogsPage, LogsQuery, StoredInvocation } from "./protocol.ts";
import type { InvocationRow, LogsStore } from "./store.ts";

// A page ends when it has so much of lines, or has taken so long: its reader goes on behind it.
const MAX_PAGE_BYTES = 8 * 1024 * 1024;
const MAX_PAGE_MS = 1_000;
/** Behind all ids in their order. */
const LAST_ID = "~";
/** Invocations whose lines are looked through before others in the process get their turn. */
const SLICE = 200;

/** The next page of what the query asks for. */
export async function readPage(store: LogsStore, query: LogsQuery): Promise<LogsPage> {
  const { limit } = query;
  const order = query.cursor?.order ?? "older";
  const looksAtLines = query.search !== undefined || query.fields.length > 0;
  const begun = Date.now();
  // What is added while this reads is for the next one to find.
  const newest: LogsCursor = { order: "newer", at: store.totals().changes, id: LAST_ID };
  const found: InvocationRow[] = [];
  let bytes = 0;
  let next = query.cursor;
  let more = true;
  while (more && found.length < limit) {
    if (bytes > MAX_PAGE_BYTES || Date.now() - begun > MAX_PAGE_MS) break;
    const slice = looksAtLines ? SLICE : Math.min(SLICE, limit - found.length);
    const rows = store.invocations(query, next, slice);
    more = rows.length === slice;
    const wanted = looksAtLines ? matching(store, rows, query) : undefined;
    for (const row of rows) {
      if (found.length === limit || bytes > MAX_PAGE_BYTES) {
        more = true;
        break;
      }
      next = { order, at: order === "newer" ? row.changed : row.started_at, id: row.id };
      if (wanted && !wanted.has(row.id)) continue;
      found.push(row);
      bytes += row.bytes;
    }
    if (more) await scheduler.wait(0);
  }
  const newer = order === "newer" ? (more && next) || newest : newest;
  return { invocations: withLines(store, found), next: more ? next : undefined, newer };
}

/** Of the invocations those of which a line, or for a mere text the URL, is what the query asks for. */
function matching(store: LogsStore, rows: InvocationRow[], query: LogsQuery): Set<string> {
  const { level, fields } = query;
  const search = query.search?.toLowerCase() ?? "";
  const ids = new Set<string>();
  if (fields.length === 0) {
    for (const { id, rest } of rows) if (hasInEvent(rest, search)) ids.add(id);
  }
  const candidates = rows.filter(({ id, lines }) => lines > 0 && !ids.has(id)).map(({ id }) => id);
  for (const { invocation, form, text } of store.lines(candidates, level, search)) {
    if (ids.has(invocation)) continue;
    const found = search === "" || readableText(form, text).toLowerCase().includes(search);
    if (found && hasFields(fieldsOf(form, text), fields)) ids.add(invocation);
  }
  return ids;
}

function hasInEvent(rest: string, search: string): boolean {
  if (!rest.toLowerCase().includes(search)) return false;
  const [, , , , , , , , event] = JSON.parse(rest) as KeptRest;
  return !!event && JSON.stringify(event).toLowerCase().includes(search);
}

const hasFields = (members: unknown, fields: FieldFilter[]): boolean =>
  fields.every((field) => hasField(members, field));

function hasField(members: unknown, { path, value }: FieldFilter): boolean {
  let found = members;
  for (const name of path) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, name)) return false;
    found = (found as Record<string, unknown>)[name];
  }
  if (value === undefined) return true;
  return (typeof found === "string" ? found : JSON.stringify(found)) === value;
}

function withLines(store: LogsStore, rows: InvocationRow[]): StoredInvocation[] {
  const invocations = new Map(rows.map((row) => [row.id, toInvocation(row)]));
  for (const { invocation, level, at, form, text } of store.lines([...invocations.keys()])) {
    const found = invocations.get(invocation);
    if (FORMS[form] === "exception") {
      const exception = JSON.parse(text) as Pick<LoggedException, "name" | "message" | "stack">;
      found?.exceptions.push({ ...exception, at });
      continue;
    }
    const fields = fieldsOf(form, text);
    const message = messageOf(form, text);
    found?.logs.push({ level: LEVELS[level] ?? "log", at, message, ...(fields && { fields }) });
  }
  return [...invocations.values()];
}

function toInvocation(row: InvocationRow): StoredInvocation {
  const [
    versionId,
    entrypoint,
    wallTimeMs = 0,
    cpuTimeMs = 0,
    startKind = "warm",
    status = null,
    requestBytes = 0,
    responseBytes = 0,
    event,
  ] = JSON.parse(row.rest) as KeptRest;
  return {
    id: row.id,
    versionId,
    startedAt: row.started_at,
    trigger: (row.trigger ?? undefined) as StoredInvocation["trigger"],
    entrypoint: entrypoint ?? undefined,
    wallTimeMs,
    cpuTimeMs,
    startKind,
    outcome: (row.outcome ?? undefined) as StoredInvocation["outcome"],
    status,
    requestBytes,
    responseBytes,
    event: event ?? undefined,
    truncated: row.truncated === 1,
    logs: [],
    exceptions: [],
  };
}
