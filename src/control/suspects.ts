import { Hono } from "hono";
import * as z from "zod";
import { listApart, recordIncident, release, type ApartScript } from "../catalog/suspects.ts";
import { log } from "../observe/log.ts";
import type { ControlEnv } from "./app.ts";
import { readJson } from "./body.ts";
import { success } from "./envelope.ts";
import { ApiError } from "./error.ts";
import { invalidate } from "./invalidate.ts";
import { accountOf, scriptOf } from "./script.ts";

// More than can be in flight in one executor.
const MAX_SUSPECTS = 10_000;

const incident = z.strictObject({
  script_ids: z.array(z.string().regex(/^[0-9a-f]{32}$/)).max(MAX_SUSPECTS),
  reason: z.enum(["exceededCpu", "exceededMemory"]),
  /** Whether the one script must have been it. */
  culprit: z.boolean(),
});

/** Mayfly's own: where the supervisor tells which scripts were at work when it ended an executor. */
export const suspects = new Hono<ControlEnv>();

suspects.post("/mayfly/suspects", async (c) => {
  if (c.var.principal.accountId) {
    throw new ApiError(403, 10000, "Authentication error: only the root token names suspects");
  }
  const { script_ids, reason, culprit } = await readJson(c, incident, 10001);
  await recordIncident(c.env.CATALOG, { scriptIds: script_ids, reason, culprit }, Date.now());
  log("warn", "run_apart", { scripts: script_ids, reason, culprit });
  // Who sees the end of the executor in question, which stands still, must not find another that has not heard.
  await invalidate(c, 1);
  return success(null);
});

/** Mayfly's own: an account's scripts that run apart from the others since they exceeded a limit. */
export const apart = new Hono<ControlEnv>();

apart.get("/mayfly/apart", async (c) => {
  const scripts = await listApart(c.env.CATALOG, accountOf(c), Date.now());
  return success(scripts.map(toResult));
});

apart.delete("/mayfly/apart/:script_name", async (c) => {
  const { id, name } = await scriptOf(c);
  if (!(await release(c.env.CATALOG, id, Date.now()))) {
    throw new ApiError(404, 10007, `script_name: "${name}" does not run apart`);
  }
  await invalidate(c);
  return success(null);
});

const toResult = (script: ApartScript): object => ({
  script_name: script.scriptName,
  reason: script.reason,
  culprit: script.culprit,
  strikes: script.strikes,
  since: script.since,
  until: script.until,
});
