import { Hono } from "hono";
import type { ControlEnv } from "./app.ts";
import { monthOf, parseMonth, type Month } from "../usage/prices/month.ts";
import { multiply, toFixed, type Fraction } from "../usage/prices/money.ts";
import type { StorageKind } from "../usage/prices/sheet.ts";
import { lastMeasured, measureStorage } from "../usage/storage/measure.ts";
import { byteMonths, heldBytes } from "../usage/storage/samples.ts";
import { success } from "./envelope.ts";
import { accountOf } from "./script.ts";

/** What the account holds: Mayfly's own, see docs/usage.md. */
export const storage = new Hono<ControlEnv>();

const GB: Fraction = { n: 1n, d: 1_000_000_000n };

/**
 * By kind: `bytes` at the last measurement, and `gb_months` of this month until now. Measures anew with
 * `?measure=true`, or if that has not been done since the start.
 */
storage.get("/mayfly/usage/storage", async (c) => {
  const ctx = c.executionCtx as ExecutionContext;
  const known = c.req.query("measure") === "true" ? undefined : lastMeasured();
  const measuredAt = known ?? (await measureStorage(c.env, ctx));
  const now = Date.now();
  const month = monthOf(now);
  const db = c.env.CATALOG;
  const account = accountOf(c);
  const [held, months] = await Promise.all([
    heldBytes(db, account),
    byteMonths(db, account, parseMonth(month) as Month, now),
  ]);
  const kinds = Object.entries(held).map(([kind, bytes]) => {
    const sum = months[kind as StorageKind] as Fraction;
    return [kind, { bytes, gb_months: Number(toFixed(multiply(sum, GB), 12)) }];
  });
  return success({
    measured_at: new Date(measuredAt).toISOString(),
    month,
    kinds: Object.fromEntries(kinds),
    // Not where a simulator or Cloudflare keeps them.
    not_measured: c.env.STORED ? [] : ["kv", "r2", "logs"],
  });
});
