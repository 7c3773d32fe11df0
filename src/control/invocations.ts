import { Hono } from "hono";
import { listInvocations } from "../catalog/invocations.ts";
import type { ControlEnv } from "./app.ts";
import { success } from "./envelope.ts";
import { invalid } from "./error.ts";

const MAX_LIMIT = 1_000;

/** Mayfly's own: Cloudflare has no such endpoint. */
export const invocations = new Hono<ControlEnv>();

/** The newest invocations, newest first. Query: `script`, `limit` (1 to 1,000; 100 by default). */
invocations.get("/mayfly/invocations", async (c) => {
  const limit = Number(c.req.query("limit") ?? 100);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw invalid(10001, "limit", c.req.query("limit"), `a whole number from 1 to ${MAX_LIMIT}`);
  }
  const accountId = c.req.param("account_id") ?? "";
  const rows = await listInvocations(c.env.CATALOG, accountId, c.req.query("script"), limit);
  return success(rows);
});
