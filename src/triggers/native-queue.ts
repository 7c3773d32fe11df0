import type { Env } from "../env.ts";

/** A batch of one of Cloudflare's own queues, for the default account's queue of the same name. */
export async function takeNativeBatch(
  batch: MessageBatch,
  _env: Env,
  _ctx: ExecutionContext,
): Promise<void> {
  batch.retryAll();
}
