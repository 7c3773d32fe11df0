import type { Context } from "hono";
import { log } from "../observe/log.ts";
import { executorOf } from "../roles/contract.ts";
import type { ControlEnv } from "./app.ts";

/**
 * Makes the change of the catalog just committed visible to the next request. Never fails: an
 * executor that cannot be reached is starting, and then remembers nothing.
 */
export async function invalidate(c: Context<ControlEnv>): Promise<void> {
  try {
    await executorOf(c.env, c.executionCtx as ExecutionContext).invalidate();
  } catch (error) {
    log("warn", "invalidate_failed", { message: String(error) });
  }
}
