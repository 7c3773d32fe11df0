/**
 * The way of an HTTP request: resolve → admit → acquire → invoke → record. This file only joins the
 * steps; each is a file of its own beside it.
 */
import type { HostTable, ScriptTarget, VersionTarget } from "../catalog/routing.ts";
import type { Env } from "../env.ts";
import type { LaneRole } from "../roles/contract.ts";
import type { Isolate } from "../isolates/isolate.ts";
import { begin, end, evict, hasTail, NoCapacityError, retire } from "../isolates/pool.ts";
import { keepSweeping } from "../isolates/sweeper.ts";
import { log, logFailure } from "../observe/log.ts";
import { expectLines } from "../observe/logs/cut-off.ts";
import { countErrorAnswer } from "../observe/metrics/error-answers.ts";
import { fetchEvent } from "../observe/observed.ts";
import { beginRequestTrace, workerContext } from "../observe/traces/invocation-trace.ts";
import { tracing } from "../observe/traces/tracing.ts";
import { giveBack, spend } from "../usage/budgets/spend.ts";
import { acquire, type Acquired } from "./acquire.ts";
import { admit, bodyBytes, left, MAX_BODY_BYTES, RefusedError, refuse } from "./admit.ts";
import { enterDepth } from "./calls.ts";
import { errorPage, type PageError } from "./error-page.ts";
import * as errors from "./errors.ts";
import { cpuLimitOf } from "./cpu-limit.ts";
import { move, takeOff } from "./flight-recorder.ts";
import { forwardedHeaders } from "./headers.ts";
import { nextInvocationId } from "./invocation-id.ts";
import { invokeFetch, invokeRpc, type Entrypoint } from "./invoke.ts";
import {
  inTurn,
  laneOf,
  LaneEndedError,
  NoTurnError,
  passOn,
  ReleasedError,
  withoutLane,
  type LaneCall,
} from "./lanes.ts";
import { BodyIncompleteError, BodyTooLargeError, limitBody } from "./limit-body.ts";
import { mustWait, nextMoment, waitForMoment } from "./pace.ts";
import { describe, type Invocation, type Outcome } from "./record.ts";
import { matchRoute, pickVersion, resolveHost } from "./resolve.ts";
import { knownLength, trackBody } from "./track-body.ts";
import { answered, WallTimeError } from "./wall-time.ts";

// How the runtime begins the message of an isolate that could not be started.
const START_FAILED = "Failed to start Worker";

/** Where a request came in: taken from its URL without making a URL object. */
export interface Location {
  scheme: string;
  host: string;
  pathAndQuery: string;
}

/** An HTTP request from outside, to whatever worker its address belongs to. */
export function dispatchRequest(
  request: Request,
  location: Location,
  env: Env,
  ctx: ExecutionContext,
): Response | Promise<Response> {
  const asked: Entrypoint = tracing ? { trace: beginRequestTrace(request) } : {};
  const found = resolveHost(location.host, env, ctx);
  // Awaiting what is at hand would cost a turn of the event loop on every request.
  return found instanceof Promise
    ? found
        .catch(unavailable)
        .then((table) => dispatchTo(table, request, location, asked, env, ctx))
    : dispatchTo(found, request, location, asked, env, ctx);
}

function dispatchTo(
  table: HostTable | undefined | "unavailable",
  request: Request,
  location: Location,
  asked: Entrypoint,
  env: Env,
  ctx: ExecutionContext,
): Response | Promise<Response> {
  if (table === "unavailable") return errorPage(errors.stateUnavailable, request);
  if (!table) return errorPage(errors.hostUnknown(env.MAYFLY_DOMAIN, env.MAYFLY_PORT), request);
  const target = matchRoute(table, location.scheme, location.pathAndQuery);
  const version = target && pickVersion(target);
  if (!version) return errorPage(errors.pathUnknown, request);
  return dispatchFetch(target, version, request, asked, env, ctx);
}

function unavailable(error: unknown): "unavailable" {
  log("error", "resolve_failed", { message: String(error) });
  return "unavailable";
}

/** A request for a version that is known: from outside, or from another worker's binding. */
export async function dispatchFetch(
  target: ScriptTarget,
  version: VersionTarget,
  request: Request,
  entrypoint: Entrypoint,
  env: Env,
  ctx: ExecutionContext,
  id: string = nextInvocationId(),
): Promise<Response> {
  if (tracing && !entrypoint.trace) {
    entrypoint = { ...entrypoint, trace: beginRequestTrace(request) };
  }
  const refusal = refuse(request) ?? admit(target.accountId, version);
  if (refusal) return errorPage(refusal, request);
  if (env.MAYFLY_RUNTIME === "workerd") keepSweeping(env, ctx);
  const lane = laneOf(target, version, env);
  if (lane) return fetchInLane(lane, { id, target, version, entrypoint }, request, env, ctx);
  const overBudget = target.budgets && (await spend(target, env, ctx));
  if (overBudget) {
    left(target.accountId, version);
    return errorPage(overBudget, request);
  }
  if (mustWait()) await waitForMoment();

  let acquired: Acquired;
  try {
    const captured = capturedShare(target, env);
    acquired = acquireFor(target, version, outlives(request, target, env), env, ctx, captured);
  } catch (error) {
    if (error instanceof NoCapacityError) return errorPage(errors.noCapacity, request);
    throw error;
  }
  const { isolate } = acquired;
  const invocation = newInvocation(id, "fetch", target, acquired, env, entrypoint.name);
  enterDepth(invocation, entrypoint.depth);
  invocation.requestBytes = bodyBytes(request);
  const trace = (invocation.trace = entrypoint.trace);

  try {
    const forwarded = forwardedHeaders(limitBody(request), id, env, trace && workerContext(trace));
    const { observed } = invocation;
    if (observed) observed.event = fetchEvent(forwarded, observed);
    const response = await invokeFetch(isolate, invocation, entrypoint, forwarded, env, ctx);
    move();
    nextMoment();
    invocation.status = response.status;
    const { body } = response;
    const length = body ? knownLength(body) : 0;
    invocation.responseBytes = length ?? 0;
    // Where no tail sees the end the dispatcher must.
    return hasTail(isolate, env)
      ? response
      : trackBody(response, body, length, () => end(invocation, isolate, env, ctx), ctx);
  } catch (error) {
    const page = failed(error, isolate, invocation, env, ctx);
    return errorPage(page, request);
  } finally {
    answered(invocation);
    if (isolate.kind === "shared") left(target.accountId, version);
    acquired.started();
  }
}

// Plain requests end with their bodies. In a lane, and by those who are told of it, the very end of each must
// be known.
const outlives = (request: Request, { observe }: ScriptTarget, env: Env): boolean =>
  request.headers.has("upgrade") ||
  Boolean(env.MAYFLY_LANE || observe?.tailed || observe?.consumers);

// What isolates without a tail write with `console` is taken down if it is kept. At the edge ids are others'.
const capturedShare = ({ observe }: ScriptTarget, env: Env): number =>
  env.MAYFLY_RUNTIME === "workerd" ? (observe?.keep?.rate ?? 0) : 0;

/** The same, where it has been admitted but must run in a lane. */
async function fetchInLane(
  lane: LaneRole,
  call: LaneCall,
  request: Request,
  env: Env,
  ctx: ExecutionContext,
): Promise<Response> {
  const { id, target, version, entrypoint } = call;
  const invocation = describe(id, "fetch", target, version, "cold", entrypoint.name);
  invocation.trace = entrypoint.trace;
  const pass = (): Promise<Response> => {
    const forwarded = forwardedHeaders(request, id, env);
    const { observed } = invocation;
    if (observed) observed.event = fetchEvent(forwarded, observed);
    return passOn(lane, call, forwarded);
  };
  try {
    return await inTurn(lane, target, invocation, version.wallTimeMs, pass, env, ctx);
  } catch (error) {
    if (error instanceof ReleasedError) {
      return await dispatchFetch(withoutLane(target), version, request, entrypoint, env, ctx, id);
    }
    if (error instanceof NoTurnError) return errorPage(errors.noCapacity, request);
    if (!(error instanceof LaneEndedError)) throw error;
    const { outcome } = error;
    return errorPage(
      outcome === "internalError" ? errors.cutShort(id) : errors.resourcesExceeded(id),
      request,
    );
  } finally {
    left(target.accountId, version);
  }
}

/**
 * A call of a method of a worker's entrypoint, from another worker's binding. Rejects with what the
 * method throws.
 */
export async function dispatchRpc(
  target: ScriptTarget,
  version: VersionTarget,
  entrypoint: Entrypoint,
  method: string,
  args: unknown[],
  env: Env,
  ctx: ExecutionContext,
): Promise<unknown> {
  if (env.MAYFLY_RUNTIME === "workerd") keepSweeping(env, ctx);
  const refusal = admit(target.accountId, version);
  if (refusal) {
    countErrorAnswer("rpc", refusal);
    throw new RefusedError(refusal);
  }
  const lane = laneOf(target, version, env);
  if (lane) {
    const pass = (): Promise<unknown> => lane.callMethod(target, version, entrypoint, method, args);
    const { name } = entrypoint;
    const invocation = describe(nextInvocationId(), "rpc", target, version, "cold", name);
    if (invocation.observed) invocation.observed.event = { rpcMethod: method };
    invocation.trace = entrypoint.trace;
    const called = inTurn(lane, target, invocation, version.wallTimeMs, pass, env, ctx).catch(
      (error: unknown) => {
        if (!(error instanceof ReleasedError)) throw error;
        return dispatchRpc(withoutLane(target), version, entrypoint, method, args, env, ctx);
      },
    );
    return called.finally(() => left(target.accountId, version));
  }
  const overBudget = target.budgets && (await spend(target, env, ctx));
  if (overBudget) {
    left(target.accountId, version);
    countErrorAnswer("rpc", overBudget);
    throw new RefusedError(overBudget);
  }
  let acquired: Acquired;
  try {
    acquired = acquireFor(target, version, true, env, ctx);
  } catch (error) {
    if (error instanceof NoCapacityError) countErrorAnswer("rpc", errors.noCapacity);
    throw error;
  }
  const { isolate } = acquired;
  const invocation = newInvocation(
    nextInvocationId(),
    "rpc",
    target,
    acquired,
    env,
    entrypoint.name,
  );
  enterDepth(invocation, entrypoint.depth);
  if (invocation.observed) invocation.observed.event = { rpcMethod: method };
  invocation.trace = entrypoint.trace;
  try {
    const result = await invokeRpc(isolate, invocation, entrypoint, method, args, env, ctx);
    if (!hasTail(isolate, env)) end(invocation, isolate, env, ctx);
    return result;
  } catch (error) {
    failed(error, isolate, invocation, env, ctx);
    // It was for the log: the caller is another worker.
    if (error instanceof Error) delete (error as { mayflyStack?: string }).mayflyStack;
    throw error;
  } finally {
    answered(invocation);
    acquired.started();
  }
}

/** `acquire` for an invocation that has been admitted: if it throws, the invocation has left again. */
export function acquireFor(
  target: ScriptTarget,
  version: VersionTarget,
  outlives: boolean,
  env: Env,
  ctx: ExecutionContext,
  captured?: number,
): Acquired {
  try {
    return acquire(version, outlives, env, ctx, captured);
  } catch (error) {
    left(target.accountId, version);
    if (target.budgets) giveBack(target);
    throw error;
  }
}

/** Enters an admitted invocation that begins now in the isolate acquired for it. */
export function newInvocation(
  id: string,
  trigger: Invocation["trigger"],
  target: ScriptTarget,
  { isolate, startKind }: Acquired,
  env: Env,
  entrypoint?: string,
): Invocation {
  const { version } = isolate;
  const invocation = describe(id, trigger, target, version, startKind, entrypoint);
  begin(invocation, isolate);
  takeOff(invocation, target.scriptId, cpuLimitOf(version, env));
  return invocation;
}

/** Logs why there is no answer, takes care of the isolate, and says what the caller is told. */
export function failed(
  error: unknown,
  isolate: Isolate,
  invocation: Invocation,
  env: Env,
  ctx: ExecutionContext,
): PageError {
  const [outcome, page] = explain(error, invocation.id, isolate);
  const started = !String(error).includes(START_FAILED);
  invocation.outcome = outcome;
  if (invocation.trigger === "fetch") invocation.status = page.status;
  // Other exceptions are told by the isolate's tail, which has their stacks.
  const tailTells = hasTail(isolate, env) && invocation.trigger === "fetch";
  if (!tailTells || outcome !== "exception" || !started) {
    logFailure(invocation, error as Error & { mayflyStack?: string });
  }
  if (!started) evict(isolate, env, ctx);
  else if (outcome === "exceededWallTime") {
    expectLines(invocation, isolate);
    end(invocation, isolate, env, ctx);
    retire(isolate, env, ctx);
  } else if (!hasTail(isolate, env)) end(invocation, isolate, env, ctx);
  return page;
}

function explain(error: unknown, id: string, isolate: Isolate): [Outcome, PageError] {
  if (error instanceof WallTimeError) {
    return ["exceededWallTime", errors.wallTimeExceeded(id, isolate.version.wallTimeMs)];
  }
  if (error instanceof Error && error.name === BodyTooLargeError.name) {
    return ["canceled", errors.bodyTooLarge(MAX_BODY_BYTES)];
  }
  if (error instanceof Error && error.name === BodyIncompleteError.name) {
    return ["canceled", errors.bodyIncomplete];
  }
  return ["exception", errors.workerThrew(id)];
}
