import { Hono } from "hono";
import * as z from "zod";
import { reportProcesses } from "../observe/metrics/processes.ts";
import { measureNowAndThen } from "../usage/storage/measure.ts";
import type { ControlEnv } from "./app.ts";
import { readJson } from "./body.ts";
import { success } from "./envelope.ts";
import { ApiError } from "./error.ts";

const name = z.string().regex(/^[a-z0-9-]+$/);
const report = z.strictObject({
  /** By the process's name. */
  processes: z.record(
    name,
    z.strictObject({
      memory_bytes: z.int().nonnegative().exactOptional(),
      cpu_seconds: z.number().nonnegative(),
      restarts: z.record(name, z.int().nonnegative()),
    }),
  ),
});

/** Mayfly's own: where the supervisor tells what the platform's processes take. */
export const processes = new Hono<ControlEnv>();

processes.post("/mayfly/processes", async (c) => {
  if (c.var.principal.accountId) {
    throw new ApiError(403, 10000, "Authentication error: only the root token reports processes");
  }
  reportProcesses((await readJson(c, report, 10001)).processes);
  // It comes regularly, whatever else there is to do.
  c.executionCtx.waitUntil(measureNowAndThen(c.env, c.executionCtx as ExecutionContext));
  return success(null);
});
