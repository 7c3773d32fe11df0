import type { Context } from "hono";
import type { IsolateSource } from "../catalog/source.ts";
import { log } from "../observe/log.ts";
import { quarantineOf, type StartReport } from "../roles/contract.ts";
import { receive } from "../roles/forward.ts";
import type { ControlEnv } from "./app.ts";
import { ApiError } from "./error.ts";
import { MAX_STARTUP_MS } from "./upload-limits.ts";

/** How a version's first start went. */
export interface Start {
  startupTimeMs: number;
  handlers: string[];
}

// A start that hangs ends the whole quarantine, and others that were in it: they get a second try,
// after the time that a new quarantine takes to come up.
const TRIES = 2;
const RESTART_MS = 500;

/**
 * Starts an isolate of the version where a loop at top level hurts nobody. Throws Cloudflare's
 * 10021 with message and stack if its top-level code fails, and if it takes too much time or memory.
 */
export async function startOnce(c: Context<ControlEnv>, source: IsolateSource): Promise<Start> {
  for (let tries = 1; ; tries++) {
    const overdue = scheduler.wait(MAX_STARTUP_MS).then(() => OVERDUE as typeof OVERDUE);
    const report = await Promise.race([start(c, source), overdue]);
    if (typeof report === "object") {
      if (report.ok) return report;
      throw new ApiError(400, 10021, report.error);
    }
    // wrangler knows this message and gives advice on start-up.
    if (tries === TRIES) throw new ApiError(400, 10021, `Script startup exceeded ${report}.`);
    await scheduler.wait(RESTART_MS);
  }
}

// What a start exceeds that does not come to an end.
const OVERDUE = "CPU time limit";
const TOO_LARGE = "memory limit";
/** Before it has stood still for so long, the supervisor ends the quarantine only for its memory. */
const STALLED_AFTER_MS = 1_400;

async function start(
  c: Context<ControlEnv>,
  source: IsolateSource,
): Promise<StartReport | typeof OVERDUE | typeof TOO_LARGE> {
  const begun = Date.now();
  try {
    return await receive(quarantineOf(c.env, c.executionCtx as ExecutionContext).start(source));
  } catch (error) {
    log("warn", "quarantine_failed", { script: source.scriptName, message: String(error) });
    return Date.now() - begun < STALLED_AFTER_MS ? TOO_LARGE : OVERDUE;
  }
}
