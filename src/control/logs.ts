import { Hono } from "hono";
import { getScript } from "../catalog/scripts.ts";
import { LEVELS, type Level } from "../observe/logs/line.ts";
import { logsOf } from "../observe/logs/logs-of.ts";
import type {
  FieldFilter,
  LogsCursor,
  LogsPage,
  StoredInvocation,
} from "../observe/logs/protocol.ts";
import { receive } from "../roles/forward.ts";
import { TIMES, toTime } from "../usage/time-range.ts";
import type { ControlEnv } from "./app.ts";
import { limitOf, success } from "./envelope.ts";
import { ApiError, invalid } from "./error.ts";
import { accountOf, unknownScript } from "./script.ts";

/** Kept logs: Mayfly's own, see docs/observability.md. */
export const logs = new Hono<ControlEnv>();

const INVALID = 10001;
const MAX_SEARCH_LENGTH = 1_000;
/** Of a script whose logs have never been kept. */
const NOTHING: LogsPage = {
  invocations: [],
  next: undefined,
  newer: { order: "newer", at: 0, id: "~" },
};
const PARAMETERS = new Set([
  "script",
  "since",
  "until",
  "level",
  "search",
  "invocation",
  "outcome",
  "trigger",
  "field",
  "limit",
  "cursor",
]);

/**
 * The script's kept invocations with their lines, newest first. Query: `script`; `since`, `until`, see `TIMES`;
 * `level`, that or a more severe one; `search`, a text in a line or in the URL; `field`, `<path>=<value>` or
 * `<path>` of a line that is JSON, also several times; `invocation`, `outcome`, `trigger`; `limit` (1 to 1,000;
 * 100 by default); `cursor`, from `result_info` of the last page: `cursor` goes on with older ones, and is there
 * as long as there may be any, `newer_cursor` with what has changed since, oldest first. A page may be
 * shorter than its limit.
 */
logs.get("/mayfly/logs", async (c) => {
  const query = (name: string): string | undefined => c.req.query(name);
  const unknown = Object.keys(c.req.query()).find((name) => !PARAMETERS.has(name));
  if (unknown !== undefined) {
    const known = [...PARAMETERS].join(", ");
    throw new ApiError(400, INVALID, `${unknown}: no such parameter; there are ${known}`);
  }
  const name = query("script");
  if (!name) throw invalid(INVALID, "script", name, "the name of a script");
  const script = await getScript(c.env.CATALOG, accountOf(c), name);
  if (!script) throw unknownScript(name);

  const asked = {
    since: timeOf("since", query("since")),
    until: timeOf("until", query("until")),
    level: levelOf(query("level")),
    search: searchOf(query("search")),
    fields: (c.req.queries("field") ?? []).map(toField),
    invocation: query("invocation"),
    outcome: query("outcome"),
    trigger: query("trigger"),
    limit: limitOf(query),
    cursor: cursorOf(query("cursor")),
  };
  const { invocations, next, newer } = script.settings.observability
    ? await receive<LogsPage>(logsOf(c.env, script.id).list(asked))
    : NOTHING;
  return success(invocations.map(toResult), {
    count: invocations.length,
    ...(next && { cursor: toText(next) }),
    newer_cursor: toText(newer),
  });
});

function timeOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const time = toTime(text, Date.now());
  if (time === undefined) throw invalid(INVALID, name, text, TIMES);
  return time;
}

function levelOf(name: string | undefined): number | undefined {
  if (name === undefined) return undefined;
  if (!LEVELS.includes(name as Level)) {
    throw invalid(INVALID, "level", name, `one of ${LEVELS.join(", ")}`);
  }
  // They are as severe as each other.
  return LEVELS.indexOf(name === "info" ? "log" : (name as Level));
}

function searchOf(text: string | undefined): string | undefined {
  if (text !== undefined && text.length > MAX_SEARCH_LENGTH) {
    const message = `search: got ${text.length} characters, must be at most ${MAX_SEARCH_LENGTH}`;
    throw new ApiError(400, INVALID, message);
  }
  return text || undefined;
}

function toField(text: string): FieldFilter {
  const [, path, value] = /^([^=]+)(?:=(.*))?$/s.exec(text) ?? [];
  if (!path) throw invalid(INVALID, "field", text, 'such as "user.id=7" or "user.id"');
  return { path: path.split("."), value };
}

const toText = ({ order, at, id }: LogsCursor): string => `${order}.${at}.${id}`;

function cursorOf(text: string | undefined): LogsCursor | undefined {
  if (text === undefined) return undefined;
  const [, order, at, id] = /^(older|newer)\.(\d{1,15})\.([\w~-]+)$/.exec(text) ?? [];
  if (!order || !id) throw invalid(INVALID, "cursor", text, "one of the last page's result_info");
  return { order: order as LogsCursor["order"], at: Number(at), id };
}

const toIso = (time: number): string => new Date(time).toISOString();

const toResult = (invocation: StoredInvocation): object => ({
  id: invocation.id,
  version_id: invocation.versionId,
  trigger: invocation.trigger ?? null,
  entrypoint: invocation.entrypoint ?? null,
  event: invocation.event ?? null,
  started_at: toIso(invocation.startedAt),
  // Null until it has ended, for ever if the end of its process came before.
  outcome: invocation.outcome ?? null,
  status: invocation.status,
  wall_time_ms: invocation.wallTimeMs,
  cpu_time_ms: invocation.cpuTimeMs,
  start_kind: invocation.startKind,
  request_bytes: invocation.requestBytes,
  response_bytes: invocation.responseBytes,
  truncated: invocation.truncated,
  logs: invocation.logs.map(({ at, ...line }) => ({ timestamp: toIso(at), ...line })),
  exceptions: invocation.exceptions.map(({ at, ...exception }) => ({
    timestamp: toIso(at),
    ...exception,
  })),
});
