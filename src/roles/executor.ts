import { WorkerEntrypoint } from "cloudflare:workers";
import type { ScriptTarget, VersionTarget } from "../catalog/routing.ts";
import type { Env } from "../env.ts";
import type { DeliveredBatch } from "../bindings/queue/protocol.ts";
import { dispatchFetch, dispatchRpc } from "../pipeline/dispatch.ts";
import { dispatchQueue, dispatchScheduled, dispatchTail } from "../pipeline/dispatch-event.ts";
import { processId } from "../pipeline/invocation-id.ts";
import type { Entrypoint } from "../pipeline/invoke.ts";
import { takeLaneCall, type LaneCall } from "../pipeline/lanes.ts";
import { arrive, takeTurn } from "../pipeline/turns.ts";
import { forgetRoutes } from "../pipeline/resolve.ts";
import { sample, type ExecutorSample } from "../observe/metrics/executors.ts";
import type { Traced } from "../observe/tail/trace-item.ts";
import { callWebhook } from "../usage/budgets/call-webhook.ts";
import type { Returned, Webhook } from "../usage/budgets/protocol.ts";
import { forgetRefusals, returnAll } from "../usage/budgets/spend.ts";
import { reportAll } from "../usage/report.ts";
import type { LaneRole } from "./contract.ts";
import type { EventOutcome, QueueOutcome, ScheduledEvent } from "./events.ts";

/** The executor role: see `ExecutorRole` and `LaneRole` for what each method promises. */
export class Executor extends WorkerEntrypoint<Env> implements LaneRole {
  async ready(): Promise<void> {}

  async invalidate(): Promise<void> {
    forgetRoutes();
    forgetRefusals();
  }

  sample(): Promise<ExecutorSample> {
    return sample(this.env, this.ctx);
  }

  async takeTurn(scriptId: string): Promise<{ processId: string } | false | "busy"> {
    const answer = await takeTurn(scriptId);
    return answer === true ? { processId: processId() } : answer;
  }

  async processId(): Promise<string> {
    return processId();
  }

  override fetch(passedOn: Request): Promise<Response> {
    const { call, request } = takeLaneCall(passedOn);
    return this.handleFetch(call, request);
  }

  async handleFetch(call: LaneCall, request: Request): Promise<Response> {
    const { target, version, entrypoint, id } = call;
    await arrive(target.scriptId);
    return dispatchFetch(target, version, request, entrypoint, this.env, this.ctx, id);
  }

  async callMethod(
    target: ScriptTarget,
    version: VersionTarget,
    entrypoint: Entrypoint,
    method: string,
    args: unknown[],
  ): Promise<unknown> {
    await arrive(target.scriptId);
    return dispatchRpc(target, version, entrypoint, method, args, this.env, this.ctx);
  }

  handleQueue(accountId: string, scriptName: string, batch: DeliveredBatch): Promise<QueueOutcome> {
    return dispatchQueue(accountId, scriptName, batch, this.env, this.ctx);
  }

  handleScheduled(
    accountId: string,
    scriptName: string,
    event: ScheduledEvent,
    noRetry: () => Promise<void>,
  ): Promise<EventOutcome> {
    return dispatchScheduled(accountId, scriptName, event, noRetry, this.env, this.ctx);
  }

  async returnInvocations(accountId: string, turn: number, flush: boolean): Promise<Returned> {
    const returned = returnAll(accountId, turn);
    if (flush) await reportAll(this.env, this.ctx);
    return returned;
  }

  callWebhook(accountId: string, webhook: Webhook): Promise<number> {
    return callWebhook(accountId, webhook, this.ctx);
  }

  handleTail(accountId: string, scriptName: string, items: Traced[]): Promise<EventOutcome> {
    return dispatchTail(accountId, scriptName, items, this.env, this.ctx);
  }
}
