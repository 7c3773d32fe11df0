// The platform Worker. Each export is an entrypoint, called only through a binding; what runs where
// is decided by the configuration: wrangler.toml, or src/host/ on an own machine.
import type { Env } from "./env.ts";
import { serve } from "./pipeline/front.ts";
import { stateOf } from "./roles/contract.ts";
import { takeNativeBatch } from "./triggers/native-queue.ts";

export { D1Binding } from "./bindings/d1/entrypoint.ts";
export { DatabaseObject } from "./bindings/d1/object.ts";
export { Egress } from "./bindings/egress/entrypoint.ts";
export { Outside } from "./bindings/egress/outside.ts";
export { QueueBinding } from "./bindings/queue/entrypoint.ts";
export { QueueObject } from "./bindings/queue/object.ts";
export { KvBinding } from "./bindings/kv/entrypoint.ts";
export { R2Binding } from "./bindings/r2/entrypoint.ts";
export { ServiceBinding } from "./bindings/service/entrypoint.ts";
export { Capture } from "./observe/logs/capture.ts";
export { LogsObject } from "./observe/logs/object.ts";
export { TailObject } from "./observe/tail/object.ts";
export { InvocationTail } from "./pipeline/tail.ts";
export { Executor } from "./roles/executor.ts";
export { Quarantine } from "./roles/quarantine.ts";
export { Shard } from "./roles/shard.ts";
export { State } from "./roles/state.ts";
export { BucketObject } from "./triggers/bucket/object.ts";
export { SchedulerObject } from "./triggers/cron/object.ts";
export { BudgetObject } from "./usage/budgets/object.ts";

export default {
  fetch: serve,
  queue: takeNativeBatch,
  scheduled: (_controller, env, ctx) => stateOf(env, ctx).ready(),
} satisfies ExportedHandler<Env>;
