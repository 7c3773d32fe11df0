import { WorkerEntrypoint } from "cloudflare:workers";
import type { Env } from "../env.ts";
import type { DeliveredBatch } from "../bindings/queue/protocol.ts";
import { dispatchQueue, dispatchScheduled } from "../pipeline/dispatch-event.ts";
import { forgetRoutes } from "../pipeline/resolve.ts";
import type { ExecutorRole } from "./contract.ts";
import type { EventOutcome, QueueOutcome, ScheduledEvent } from "./events.ts";

/** The executor role: see `ExecutorRole` for what each method promises. */
export class Executor extends WorkerEntrypoint<Env> implements ExecutorRole {
  async ready(): Promise<void> {}

  async invalidate(): Promise<void> {
    forgetRoutes();
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
}
