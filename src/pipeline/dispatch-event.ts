/**
 * The way of an event other than a request, given to the executor by state: the same steps as for a
 * request, with an outcome instead of a response.
 */
import type { DeliveredBatch } from "../bindings/queue/protocol.ts";
import type { Env } from "../env.ts";
import { hasTail, end, NoCapacityError, workerOf } from "../isolates/pool.ts";
import { keepSweeping } from "../isolates/sweeper.ts";
import { logFailure } from "../observe/log.ts";
import type { TraceEvent } from "../observe/observed.ts";
import type { Traced } from "../observe/tail/trace-item.ts";
import {
  beginBatchTrace,
  beginTimerTrace,
  beginTrace,
  type Trace,
} from "../observe/traces/invocation-trace.ts";
import type { LaneRole } from "../roles/contract.ts";
import type {
  EventHandlers,
  EventOutcome,
  HandlerReport,
  QueueOutcome,
  QueueReport,
  ScheduledEvent,
} from "../roles/events.ts";
import { receive } from "../roles/forward.ts";
import { budgetRetryAt, spend } from "../usage/budgets/spend.ts";
import { admit, left } from "./admit.ts";
import type { Acquired } from "./acquire.ts";
import { acquireFor, failed, newInvocation } from "./dispatch.ts";
import { nextInvocationId } from "./invocation-id.ts";
import { inTurn, laneOf, LaneEndedError, NoTurnError, ReleasedError } from "./lanes.ts";
import { nameFor } from "./method-name.ts";
import { describe, type Invocation } from "./record.ts";
import { pickVersion, resolveScript } from "./resolve.ts";
import { arrive } from "./turns.ts";
import { answered, withWallTime } from "./wall-time.ts";

/** Cloudflare's limit for queue consumers and cron triggers: 15 minutes of wall time. */
export const EVENT_WALL_TIME_MS = 15 * 60_000;
/** How long an event waits for its script's turn where it must run apart. */
const LANE_WAIT_MS = 30_000;
/** There is no room for the event now: it goes back to where it came from, and comes again. */
const BUSY = { outcome: { outcome: "busy", wallTimeMs: 0 } } as const;

// Entrypoints have the methods of their class, which the types of stubs cannot say.
const asCalledFor = ({ id }: Invocation, handlers: Fetcher): EventHandlers =>
  new Proxy(handlers as unknown as Record<string, unknown>, {
    get: (methods, method: string) => methods[nameFor(method, id)],
  }) as unknown as EventHandlers;

/** A batch of messages, to the script's `queue()` handler. */
export async function dispatchQueue(
  accountId: string,
  scriptName: string,
  batch: DeliveredBatch,
  env: Env,
  ctx: ExecutionContext,
): Promise<QueueOutcome> {
  const call = (handlers: EventHandlers): Promise<QueueReport> => handlers.handleQueue(batch);
  const passOn = (lane: LaneRole): Promise<QueueOutcome> =>
    lane.handleQueue(accountId, scriptName, batch);
  const cause: Cause = {
    trigger: "queue",
    event: { queue: batch.queueName, batchSize: batch.messages.length },
    trace: beginBatchTrace(batch),
  };
  const { outcome, report } = await dispatch(cause, accountId, scriptName, call, passOn, env, ctx);
  return report ? { ...outcome, result: report.result } : outcome;
}

/** A cron slot, to the script's `scheduled()` handler. */
export async function dispatchScheduled(
  accountId: string,
  scriptName: string,
  event: ScheduledEvent,
  noRetry: () => Promise<void>,
  env: Env,
  ctx: ExecutionContext,
): Promise<EventOutcome> {
  const call = (handlers: EventHandlers): Promise<HandlerReport> =>
    handlers.handleScheduled(event, noRetry);
  const passOn = (lane: LaneRole): Promise<EventOutcome> =>
    lane.handleScheduled(accountId, scriptName, event, noRetry);
  const { cron, scheduledTime } = event;
  const cause: Cause = {
    trigger: "scheduled",
    event: { cron, scheduledTime },
    trace: beginTimerTrace(event),
  };
  return (await dispatch(cause, accountId, scriptName, call, passOn, env, ctx)).outcome;
}

/** Finished invocations of others, to the script's `tail()` handler. */
export async function dispatchTail(
  accountId: string,
  scriptName: string,
  items: Traced[],
  env: Env,
  ctx: ExecutionContext,
): Promise<EventOutcome> {
  const call = (handlers: EventHandlers): Promise<HandlerReport> =>
    handlers.handleTail(items.map(({ json }) => json));
  const passOn = (lane: LaneRole): Promise<EventOutcome> =>
    lane.handleTail(accountId, scriptName, items);
  const event = { consumedEvents: items.map((item) => ({ scriptName: item.scriptName })) };
  const cause: Cause = { trigger: "tail", event, trace: beginTrace() };
  return (await dispatch(cause, accountId, scriptName, call, passOn, env, ctx)).outcome;
}

interface Cause {
  trigger: "queue" | "scheduled" | "tail";
  event: TraceEvent;
  trace: Trace | undefined;
}

async function dispatch<Report extends HandlerReport>(
  cause: Cause,
  accountId: string,
  scriptName: string,
  call: (handlers: EventHandlers) => Promise<Report>,
  passOn: (lane: LaneRole) => Promise<EventOutcome>,
  env: Env,
  ctx: ExecutionContext,
): Promise<{ outcome: EventOutcome; report?: Report }> {
  const { trigger, event, trace } = cause;
  const target = await resolveScript(accountId, scriptName, env, ctx);
  const version = target && pickVersion(target);
  if (!version) return { outcome: { outcome: "scriptNotFound", wallTimeMs: 0 } };
  if (env.MAYFLY_RUNTIME === "workerd") keepSweeping(env, ctx);
  if (admit(accountId, version)) return BUSY;
  const lane = laneOf(target, version, env);
  if (lane) {
    const invocation = describe(nextInvocationId(), trigger, target, version);
    if (invocation.observed) invocation.observed.event = event;
    invocation.trace = trace;
    const passed = (): Promise<EventOutcome> => receive(passOn(lane));
    try {
      return {
        outcome: await inTurn(lane, target, invocation, LANE_WAIT_MS, passed, env, ctx),
      };
    } catch (error) {
      if (error instanceof NoTurnError) return BUSY;
      if (error instanceof ReleasedError) {
        return await dispatch(cause, accountId, scriptName, call, passOn, env, ctx);
      }
      // Where it was not the worker's fault, the event was cut short and comes again.
      if (!(error instanceof LaneEndedError) || error.outcome === "internalError") throw error;
      const { outcome, wallTimeMs } = invocation;
      return { outcome: { outcome, wallTimeMs, error: error.message } };
    } finally {
      left(accountId, version);
    }
  }
  if (env.MAYFLY_LANE) await arrive(target.scriptId);
  if (target.budgets && (await spend(target, env, ctx))) {
    left(accountId, version);
    return { outcome: { ...BUSY.outcome, busyUntil: budgetRetryAt(target) } };
  }
  let acquired: Acquired;
  try {
    acquired = acquireFor(target, version, true, env, ctx);
  } catch (error) {
    if (error instanceof NoCapacityError) return BUSY;
    throw error;
  }
  const { isolate } = acquired;
  const invocation = newInvocation(nextInvocationId(), trigger, target, acquired, env);
  if (invocation.observed) invocation.observed.event = event;
  invocation.trace = trace;
  const over = (error?: string): EventOutcome => ({
    outcome: invocation.outcome,
    wallTimeMs: Date.now() - invocation.startedAt,
    ...(error !== undefined && { error }),
  });
  try {
    const handlers = workerOf(isolate, env, ctx).getEntrypoint("MayflyEvents");
    const calling = receive(call(asCalledFor(invocation, handlers)));
    const report = await withWallTime(calling, invocation, EVENT_WALL_TIME_MS);
    const { error } = report;
    if (error) {
      invocation.outcome = "exception";
      logFailure(invocation, { ...error, mayflyStack: error.stack ?? "" });
    }
    if (!hasTail(isolate, env)) end(invocation, isolate, env, ctx);
    return { outcome: over(error && `${error.name}: ${error.message}`), report };
  } catch (error) {
    failed(error, isolate, invocation, env, ctx);
    return { outcome: over(String(error)) };
  } finally {
    answered(invocation);
    acquired.started();
  }
}
