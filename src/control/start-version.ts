import type { Context } from "hono";
import type { IsolateSource } from "../catalog/source.ts";
import { log } from "../observe/log.ts";
import { quarantineOf } from "../roles/contract.ts";
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
 * 10021 with message and stack if its top-level code fails or does not come to an end.
 */
export async function startOnce(c: Context<ControlEnv>, source: IsolateSource): Promise<Start> {
  for (let tries = 1; ; tries++) {
    const report = await Promise.race([start(c, source), scheduler.wait(MAX_STARTUP_MS)]);
    if (report?.ok) return report;
    if (report) throw new ApiError(400, 10021, report.error);
    if (tries === TRIES) break;
    await scheduler.wait(RESTART_MS);
  }
  // wrangler knows this message and gives advice on start-up.
  throw new ApiError(400, 10021, "Script startup exceeded CPU time limit.");
}

/** The quarantine's report, or undefined if it broke down. */
async function start(
  c: Context<ControlEnv>,
  source: IsolateSource,
): Promise<({ ok: true } & Start) | { ok: false; error: string } | undefined> {
  try {
    return await receive(quarantineOf(c.env, c.executionCtx as ExecutionContext).start(source));
  } catch (error) {
    log("warn", "quarantine_failed", { script: source.scriptName, message: String(error) });
    return undefined;
  }
}
