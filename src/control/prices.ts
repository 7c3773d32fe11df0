import { Hono } from "hono";
import * as z from "zod";
import { toBill, type MonthUsage } from "../usage/prices/bill.ts";
import { parseMachine } from "../usage/prices/machine.ts";
import { monthOf, parseMonth, type Month } from "../usage/prices/month.ts";
import { priceSheets } from "../usage/prices/sheets.ts";
import { queryUsage, TooManyRowsError, type Dimension } from "../usage/query.ts";
import { total, type UsageRow } from "../usage/rows.ts";
import { byteMonths } from "../usage/storage/samples.ts";
import { toRange } from "../usage/time-range.ts";
import type { ControlEnv } from "./app.ts";
import { success } from "./envelope.ts";
import { ApiError, invalid } from "./error.ts";
import { accountOf } from "./script.ts";

/** What a month would have cost elsewhere: Mayfly's own, see docs/usage.md. */
export const prices = new Hono<ControlEnv>();

const INVALID = 10001;

const parameters = z.strictObject({
  month: z.string().exactOptional(),
  machine: z.string().exactOptional(),
  free_tier: z.string().default("true"),
});

/**
 * Query: `month`, such as 2026-11 (this one by default); `machine`, what this one costs a month, such as
 * 5EUR or 12.50USD, or the id of one that the sheets know; `free_tier`: whether free tiers count (default true).
 */
prices.get("/mayfly/usage/prices", async (c) => {
  const parsed = parameters.safeParse(c.req.query());
  if (!parsed.success) {
    const [unknown] = Object.keys(c.req.query()).filter((name) => !(name in parameters.shape));
    const known = Object.keys(parameters.shape).join(", ");
    throw new ApiError(400, INVALID, `${unknown}: no such parameter; there are ${known}`);
  }
  const now = Date.now();
  const { month: text = monthOf(now), machine, free_tier } = parsed.data;
  const month = parseMonth(text);
  if (!month || month.from > now) {
    throw invalid(INVALID, "month", text, `one such as "${monthOf(now)}", and not in the future`);
  }
  if (free_tier !== "true" && free_tier !== "false") {
    throw invalid(INVALID, "free_tier", free_tier, "true or false");
  }
  const { sheets, machines } = priceSheets();
  const own = machine === undefined ? undefined : parseMachine(machine, machines);
  if (machine !== undefined && !own) {
    const ids = machines.map(({ id }) => id).join(", ");
    throw invalid(INVALID, "machine", machine, `a price such as 5EUR or 12.50USD, or ${ids}`);
  }
  const usage = await monthUsage(c.env.CATALOG, accountOf(c), month, now);
  const freeTier = free_tier === "true";
  return success({
    month: text,
    until: new Date(Math.min(now, month.to)).toISOString(),
    free_tier: freeTier,
    usage: total(usage.rows),
    bills: sheets.flatMap((sheet) =>
      sheet.plans.map((plan) => ({
        ...toBill(sheet, plan, usage, { freeTier }),
        not_compared: sheet.not_compared,
        sources: sheet.sources,
      })),
    ),
    ...(own && { machine: own }),
    machines,
  });
});

async function monthUsage(
  db: D1Database,
  accountId: string,
  month: Month,
  now: number,
): Promise<MonthUsage & { rows: UsageRow[] }> {
  const range = toRange(month.from, Math.min(now, month.to));
  const query = (by: Dimension[]): Promise<UsageRow[]> => queryUsage(db, accountId, { range, by });
  const byTrigger = query(["day", "trigger"]);
  const [rows, days, storage] = await Promise.all([
    query(["script", "trigger"]).catch((error: unknown) => {
      if (error instanceof TooManyRowsError) return byTrigger;
      throw error;
    }),
    byTrigger,
    byteMonths(db, accountId, month, now),
  ]);
  return { rows, days, storage };
}
