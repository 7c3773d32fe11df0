import type { Env } from "../env.ts";
import type { Invocation } from "../pipeline/record.ts";
import { executorOf, stateOf } from "../roles/contract.ts";
import { receive } from "../roles/forward.ts";
import { log } from "./log.ts";
import { keep } from "./logs/kept.ts";
import type { Observed } from "./observed.ts";
import { Outbox } from "./tail/outbox.ts";
import { toTraceData } from "./tail/trace-item.ts";

// By the script's id.
const toSessions = new Outbox((scriptId, items, missed, env, ctx) =>
  stateOf(env, ctx).showTraces(
    scriptId,
    items.map(({ json }) => json),
    missed,
  ),
);

// By account and name of the tail worker. Its handler may take long: nobody waits for it.
const toTailWorkers = new Outbox(async (receiver, items, missed, env, ctx) => {
  const [account = "", script = ""] = receiver.split("/");
  const given = receive(executorOf(env, ctx).handleTail(account, script, items)).catch(
    (error: unknown) =>
      log("warn", "tail_worker_failed", { account, script, message: String(error) }),
  );
  ctx.waitUntil(given);
  if (missed > 0) log("warn", "tail_worker_missed", { account, script, invocations: missed });
});

/** Passes a finished invocation on to those who want to see more of it than numbers. */
export function publish(
  invocation: Invocation,
  observed: Observed,
  env: Env,
  ctx: ExecutionContext,
): void {
  const { tailed, consumers } = observed;
  if (observed.keep) keep(invocation, observed, observed.keep);
  if (!tailed && consumers.length === 0) return;
  const json = JSON.stringify(toTraceData(invocation, observed));
  const item = { scriptName: invocation.scriptName, json };
  if (tailed) toSessions.add(invocation.scriptId, item, env, ctx);
  for (const consumer of consumers) {
    toTailWorkers.add(`${invocation.accountId}/${consumer}`, item, env, ctx);
  }
}
