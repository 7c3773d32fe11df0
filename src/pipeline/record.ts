import type { Observe, ScriptTarget, VersionTarget } from "../catalog/routing.ts";
import type { Env } from "../env.ts";
import type { Observed } from "../observe/observed.ts";
import { isSampled } from "../observe/logs/sampling.ts";
import { publishLater } from "../observe/publish-later.ts";
import { endTrace, type Trace } from "../observe/traces/invocation-trace.ts";
import { meter } from "../usage/meter.ts";
import { reportSoon } from "../usage/report.ts";

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

/** What causes invocations. */
export type Trigger = "fetch" | "rpc" | "scheduled" | "queue" | "tail";

/** The isolate that an invocation ran in: started ahead, started for it, or already at work. */
export type StartKind = "spare" | "cold" | "warm";

/** What is known of one invocation. */
export interface Invocation {
  id: string;
  accountId: string;
  scriptId: string;
  scriptName: string;
  versionId: string;
  trigger: Trigger;
  /** The named entrypoint that was called; undefined: the default export. */
  entrypoint: string | undefined;
  /** Milliseconds since 1970. */
  startedAt: number;
  wallTimeMs: number;
  /** As well as it can be known: see `usage/cpu-share.ts`. */
  cpuTimeMs: number;
  startKind: StartKind;
  outcome: Outcome;
  status: number | null;
  /** Of bodies whose length is known; streams of unknown length count nothing. */
  requestBytes: number;
  responseBytes: number;
  /** Undefined: nobody wants to see more of it. */
  observed: Observed | undefined;
  /** Its place in a trace; undefined if there are no traces. */
  trace: Trace | undefined;
}

/** What is known of an invocation when it begins. */
export const describe = (
  id: string,
  trigger: Trigger,
  { accountId, scriptId, scriptName, observe }: ScriptTarget,
  version: VersionTarget,
  startKind: StartKind = "cold",
  entrypoint?: string,
): Invocation => ({
  id,
  accountId,
  scriptId,
  scriptName,
  versionId: version.versionId,
  trigger,
  entrypoint,
  startedAt: Date.now(),
  wallTimeMs: 0,
  cpuTimeMs: 0,
  startKind,
  outcome: "ok",
  status: null,
  trace: undefined,
  requestBytes: 0,
  responseBytes: 0,
  observed: observe && toObserve(id, observe, trigger, version),
});

/** Whether this one is kept is decided when it begins. */
function toObserve(
  id: string,
  { keep, tailed, consumers = [] }: Observe,
  trigger: Trigger,
  { tag, message }: VersionTarget,
): Observed | undefined {
  const kept = keep && isSampled(id, keep.rate) ? keep : undefined;
  // What tail workers do is passed to none of them, or they could keep each other at work for ever.
  const told = trigger === "tail" ? [] : consumers;
  if (!kept && !tailed && told.length === 0) return undefined;
  return {
    event: undefined,
    logs: [],
    exceptions: [],
    truncated: false,
    tag,
    message,
    keep: kept,
    tailed: tailed ?? false,
    consumers: told,
  };
}

/** Counts a finished invocation, at once, and passes it on to whoever wants to see it. */
export function record(invocation: Invocation, env: Env, ctx: ExecutionContext): void {
  meter(invocation);
  if (invocation.observed) publishLater(invocation, invocation.observed, env, ctx);
  if (invocation.trace) endTrace(invocation.trace, invocation, env, ctx);
  reportSoon(env, ctx);
}
