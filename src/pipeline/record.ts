import type { ScriptTarget, VersionTarget } from "../catalog/routing.ts";
import type { Env } from "../env.ts";
import { log } from "../observe/log.ts";
import { stateOf } from "../roles/contract.ts";

/** How an invocation ended, in workerd's words. */
export type Outcome =
  | "ok"
  | "exception"
  | "exceededCpu"
  | "exceededMemory"
  | "exceededWallTime"
  | "scriptNotFound"
  | "canceled"
  | "internalError";

/** What is kept of one invocation. */
export interface Invocation {
  id: string;
  accountId: string;
  scriptName: string;
  versionId: string;
  /** What caused it. */
  trigger: "fetch" | "rpc" | "scheduled" | "queue";
  /** Milliseconds since 1970. */
  startedAt: number;
  wallTimeMs: number;
  /** The isolate it ran in: started ahead, started for it, or already at work. */
  startKind: "spare" | "cold" | "warm";
  outcome: Outcome;
  status: number | null;
}

/** What is known of an invocation when it begins. */
export const describe = (
  id: string,
  trigger: Invocation["trigger"],
  { accountId, scriptName }: ScriptTarget,
  { versionId }: VersionTarget,
): Invocation => ({
  id,
  accountId,
  scriptName,
  versionId,
  trigger,
  startedAt: Date.now(),
  wallTimeMs: 0,
  startKind: "cold",
  outcome: "ok",
  status: null,
});

// Flushed this often and, at the latest, at this many: a crash loses no more.
const FLUSH_EVERY_MS = 1_000;
const FLUSH_AT = 2_000;
// While state is away records wait, but not without bound.
const MAX_WAITING = 20_000;

let waiting: Invocation[] = [];
let flushedAt = 0;

/** Finished invocations by outcome since the process started, for the metrics. */
export const outcomes: Partial<Record<Outcome, number>> = {};

/** Keeps what is known of a finished invocation: counted at once, stored within a second. */
export function record(invocation: Invocation, env: Env, ctx: ExecutionContext): void {
  outcomes[invocation.outcome] = (outcomes[invocation.outcome] ?? 0) + 1;
  waiting.push(invocation);
  if (waiting.length >= FLUSH_AT || Date.now() - flushedAt > FLUSH_EVERY_MS) {
    ctx.waitUntil(flushRecords(env, ctx));
  }
}

/** Gives the waiting records to the state role; on failure they wait for the next time. */
export async function flushRecords(env: Env, ctx: ExecutionContext): Promise<void> {
  if (waiting.length === 0) return;
  const batch = waiting;
  waiting = [];
  flushedAt = Date.now();
  try {
    await stateOf(env, ctx).record(JSON.stringify(batch));
  } catch (error) {
    waiting = batch.concat(waiting).slice(-MAX_WAITING);
    log("warn", "records_delayed", { waiting: waiting.length, message: String(error) });
  }
}
