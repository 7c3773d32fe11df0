import type { Env } from "../env.ts";
import { shardsOf } from "../roles/contract.ts";

const PATIENCE_MS = 1_000;

/** Of each shard, in order, whether it answers now: one that works on a long query does not. */
export function askShards(env: Env, ctx: ExecutionContext): Promise<boolean[]> {
  return Promise.all(
    shardsOf(env, ctx).map(async (shard) => {
      const answered = shard.ready().then(
        () => true,
        () => false,
      );
      return Promise.race([answered, scheduler.wait(PATIENCE_MS).then(() => false)]);
    }),
  );
}
