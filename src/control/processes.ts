import { Hono } from "hono";
import * as z from "zod";
import { reportMemory } from "../observe/process-memory.ts";
import type { ControlEnv } from "./app.ts";
import { readJson } from "./body.ts";
import { success } from "./envelope.ts";
import { ApiError } from "./error.ts";

const report = z.strictObject({
  /** By the process's name. */
  memory_bytes: z.record(z.string().regex(/^[a-z0-9-]+$/), z.int().nonnegative()),
});

/** Mayfly's own: where the supervisor tells what the platform's processes take. */
export const processes = new Hono<ControlEnv>();

processes.post("/mayfly/processes", async (c) => {
  if (c.var.principal.accountId) {
    throw new ApiError(403, 10000, "Authentication error: only the root token reports processes");
  }
  reportMemory((await readJson(c, report, 10001)).memory_bytes);
  return success(null);
});
