/**
 * What must not run with all else runs in an executor of its own kind, a lane: `apart` what has exceeded a
 * limit, or may have; `long` what asks for more CPU time than the default. Any executor takes the event
 * and passes it on; if the lane's process ends meanwhile, it knows why and says so.
 */
import type { ScriptTarget, VersionTarget } from "../catalog/routing.ts";
import type { Env } from "../env.ts";
import { keepSweeping } from "../isolates/sweeper.ts";
import { log, logFailure } from "../observe/log.ts";
import { cpuSpent } from "../usage/cpu-share.ts";
import { stateOf, type LaneRole } from "../roles/contract.ts";
import { receive } from "../roles/forward.ts";
import { cpuLimitOf, defaultCpuMs } from "./cpu-limit.ts";
import type { Entrypoint } from "./invoke.ts";
import { resolveScript } from "./resolve.ts";
import { record, type Invocation, type Outcome } from "./record.ts";

export type Lane = "apart" | "long";

// Roles' bindings have the methods of their class, which the types of stubs cannot say.
const role = (stub: Fetcher): LaneRole => stub as unknown as LaneRole;

/** The lane that an invocation of the version must take; undefined if it runs here. */
export function laneOf(
  target: ScriptTarget,
  version: VersionTarget,
  env: Env,
): LaneRole | undefined {
  if (!env.EXECUTOR_APART || !env.EXECUTOR_LONG) return undefined;
  if (cpuLimitOf(version, env) > defaultCpuMs(env)) {
    return env.MAYFLY_LANE === "long" ? undefined : role(env.EXECUTOR_LONG);
  }
  if (runsApart(target)) {
    return env.MAYFLY_LANE === "apart" ? undefined : role(env.EXECUTOR_APART);
  }
  return undefined;
}

const runsApart = ({ apart }: ScriptTarget): boolean =>
  apart !== undefined && apart.until > Date.now();

/** The script as it is to others, when it need not run apart any more. */
export function withoutLane(target: ScriptTarget): ScriptTarget {
  const free = { ...target };
  delete free.apart;
  return free;
}

/** The lane's process has ended before it answered. */
export class LaneEndedError extends Error {
  /** `internalError`: it was another script's fault. */
  readonly outcome: Outcome;

  constructor(outcome: Outcome) {
    super(
      {
        exceededCpu: "Worker exceeded CPU time limit.",
        exceededMemory: "Worker exceeded memory limit.",
      }[outcome as string] ?? "Worker was cut short by the end of its process.",
    );
    this.outcome = outcome;
  }
}

/** It was not the script's turn within the time that it could wait. */
export class NoTurnError extends Error {}

/** While it waited, the script was found not to have done what it was suspected of: it need not run apart. */
export class ReleasedError extends Error {
  override readonly name = "ReleasedError";
}

const RETRY_MS = 50;

/**
 * Makes the call when it is the script's turn in the lane, which may take `waitMs` milliseconds. Rejects
 * with what the call rejects with, or with a NoTurnError or a ReleasedError, or with a LaneEndedError; then
 * nobody else can record the invocation.
 */
export async function inTurn<T>(
  lane: LaneRole,
  target: ScriptTarget,
  invocation: Invocation,
  waitMs: number,
  call: () => Promise<T>,
  env: Env,
  ctx: ExecutionContext,
): Promise<T> {
  const processId = await waitForTurn(lane, target, Date.now() + waitMs, env, ctx);
  try {
    return await call();
  } catch (error) {
    const outcome = await causeOfEnd(lane, processId, target, env, ctx);
    if (!outcome) throw error;
    const ended = new LaneEndedError(outcome);
    invocation.outcome = outcome;
    if (outcome === "exceededCpu") spendLimit(invocation, target, env);
    invocation.wallTimeMs = Date.now() - invocation.startedAt;
    if (invocation.trigger === "fetch") invocation.status = 503;
    logFailure(invocation, ended);
    record(invocation, env, ctx);
    // Here nothing runs any more for which the sweeper would have come back to report it.
    keepSweeping(env, ctx);
    throw ended;
  }
}

// It has used that much at least; what more there was has ended with the process that knew it.
function spendLimit(invocation: Invocation, { versions }: ScriptTarget, env: Env): void {
  const version = versions.find(({ versionId }) => versionId === invocation.versionId);
  if (version) cpuSpent(invocation, cpuLimitOf(version, env));
}

// While others' turns end the lane's process, this goes on waiting.
async function waitForTurn(
  lane: LaneRole,
  target: ScriptTarget,
  deadline: number,
  env: Env,
  ctx: ExecutionContext,
): Promise<string> {
  let asked: Promise<{ processId: string } | false | "busy"> | undefined;
  while (Date.now() < deadline) {
    asked ??= receive(lane.takeTurn(target.scriptId)).catch((error: unknown) => {
      log("info", "turn_lost", { script: target.scriptId, message: String(error) });
      return scheduler.wait(RETRY_MS).then(() => false as const);
    });
    const answer = await Promise.race([asked, scheduler.wait(RETRY_MS).then(() => undefined)]);
    if (answer === "busy") break;
    if (answer) return answer.processId;
    if (answer === false) asked = undefined;
    // Its process may stand still meanwhile, on account of the one that did it.
    const { accountId, scriptName } = target;
    const known = target.apart && (await resolveScript(accountId, scriptName, env, ctx));
    if (known && !runsApart(known)) throw new ReleasedError("The script need not run apart");
  }
  throw new NoTurnError("Too much runs apart");
}

/** Undefined if the process lives: then it was not its end that the call failed of. */
async function causeOfEnd(
  lane: LaneRole,
  processId: string,
  { accountId, scriptName }: ScriptTarget,
  env: Env,
  ctx: ExecutionContext,
): Promise<Outcome | undefined> {
  try {
    if ((await lane.processId()) === processId) return undefined;
  } catch {
    // It is being started again.
  }
  // State was told before the process was ended.
  const known = await receive(stateOf(env, ctx).resolveScript(accountId, scriptName));
  return known?.apart?.culprit ? known.apart.reason : "internalError";
}

/** What a lane is told of a request passed on to it. */
export interface LaneCall {
  id: string;
  target: ScriptTarget;
  version: VersionTarget;
  entrypoint: Entrypoint;
}

// Set by executors only: clients cannot reach the entrypoint that reads it.
const LANE_CALL_HEADER = "mayfly-lane-call";

/**
 * Passes the request on, whose headers can be changed. As a call, since the runtime sends requests between
 * processes a second time if the first one's end without an answer; but calls cannot return a WebSocket.
 */
export function passOn(lane: LaneRole, call: LaneCall, request: Request): Promise<Response> {
  if (!request.headers.has("upgrade")) return lane.handleFetch(call, request);
  request.headers.set(LANE_CALL_HEADER, encodeURIComponent(JSON.stringify(call)));
  return lane.fetch(request);
}

/** What `passOn` has put into a request for a WebSocket. */
export function takeLaneCall(request: Request): { call: LaneCall; request: Request } {
  const call = JSON.parse(
    decodeURIComponent(request.headers.get(LANE_CALL_HEADER) ?? ""),
  ) as LaneCall;
  const plain = new Request(request);
  plain.headers.delete(LANE_CALL_HEADER);
  return { call, request: plain };
}
