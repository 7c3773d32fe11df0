import { Hono } from "hono";
import { listInvocations } from "../catalog/invocations.ts";
import type { ControlEnv } from "./app.ts";
import { limitOf, success } from "./envelope.ts";

/** Mayfly's own: Cloudflare has no such endpoint. */
export const invocations = new Hono<ControlEnv>();

/** The newest invocations, newest first. Query: `script`, `limit` (1 to 1,000; 100 by default). */
invocations.get("/mayfly/invocations", async (c) => {
  const limit = limitOf((name) => c.req.query(name));
  const accountId = c.req.param("account_id") ?? "";
  const rows = await listInvocations(c.env.CATALOG, accountId, c.req.query("script"), limit);
  return success(rows);
});
