import { Hono } from "hono";
import * as z from "zod";
import {
  dimensions,
  MAX_ROWS,
  queryOperations,
  queryUsage,
  TIMES_OF_DAY,
  TooManyRowsError,
  type Dimension,
  type UsageQuery,
} from "../usage/query.ts";
import { MEMORY_MB, total } from "../usage/rows.ts";
import { minuteToText, TIMES, toRange, toTime, type TimeRange } from "../usage/time-range.ts";
import type { ControlEnv } from "./app.ts";
import { success } from "./envelope.ts";
import { ApiError, invalid } from "./error.ts";
import { accountOf } from "./script.ts";

/** What the account's workers have used: Mayfly's own, see docs/usage.md. */
export const usage = new Hono<ControlEnv>();

const INVALID = 10001;
/** One row of all. */
const TOTAL = "total";

const parameters = z.strictObject({
  since: z.string().default("month"),
  until: z.string().exactOptional(),
  by: z.string().default(TOTAL),
  script: z.string().exactOptional(),
});

/**
 * Query: `since` (the beginning of this month by default) and `until` (now), see `TIMES`; `by`, one or more of
 * script, version, trigger, minute, hour, day, operation, separated by commas, or total (default); `script`.
 */
usage.get("/mayfly/usage", async (c) => {
  const parsed = parameters.safeParse(c.req.query());
  if (!parsed.success) {
    const [unknown] = Object.keys(c.req.query()).filter((name) => !(name in parameters.shape));
    const known = Object.keys(parameters.shape).join(", ");
    throw new ApiError(400, INVALID, `${unknown}: no such parameter; there are ${known}`);
  }
  const { since, until, by, script } = parsed.data;
  const range = rangeOf(since, until);
  const query = { range, script, by: dimensionsOf(by) };
  const account = accountOf(c);
  const result = await answer(c.env.CATALOG, account, query).catch((error: unknown) => {
    if (!(error instanceof TooManyRowsError)) throw error;
    throw invalid(INVALID, "by", by, `coarser, or the time shorter: more than ${MAX_ROWS} rows`);
  });
  return success({
    since: minuteToText(range.since),
    until: minuteToText(range.until),
    by: query.by,
    memory_mb: MEMORY_MB,
    cpu_time_known: c.env.MAYFLY_CPU_TIME === "known",
    ...result,
  });
});

async function answer(db: D1Database, accountId: string, query: UsageQuery): Promise<object> {
  if (!query.by.includes("operation")) {
    const rows = await queryUsage(db, accountId, query);
    return { rows, total: total(rows) };
  }
  const rows = await queryOperations(db, accountId, query);
  return { rows, total: total(await queryUsage(db, accountId, { ...query, by: [] })) };
}

function rangeOf(since: string, until: string | undefined): TimeRange {
  const now = Date.now();
  const from = toTime(since, now);
  if (from === undefined) throw invalid(INVALID, "since", since, TIMES);
  const to = until === undefined ? now : toTime(until, now);
  if (to === undefined) throw invalid(INVALID, "until", until, TIMES);
  const range = toRange(from, to);
  if (range.since < range.until) return range;
  throw invalid(INVALID, "since", since, `before until, which is ${minuteToText(range.until)}`);
}

const isKnown = (name: string): name is Dimension => dimensions.includes(name as Dimension);

function dimensionsOf(by: string): Dimension[] {
  if (by === TOTAL) return [];
  const given = by.split(",");
  if (!given.every(isKnown)) {
    const names = dimensions.join(", ");
    throw invalid(INVALID, "by", by, `one or more of ${names}, separated by commas, or ${TOTAL}`);
  }
  const unique = [...new Set(given)];
  if (unique.filter((name) => TIMES_OF_DAY.includes(name)).length > 1) {
    throw invalid(INVALID, "by", by, `with one of ${TIMES_OF_DAY.join(", ")} at most`);
  }
  return unique;
}
