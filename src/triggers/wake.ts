import type { Env } from "../env.ts";

/**
 * Sees to it that everything due is worked on, after a start and whenever the platform is woken.
 * Alarms do the same by themselves; this makes up for changes of the catalog that a crash kept from
 * the objects concerned.
 */
export async function wakeTriggers(_env: Env, _ctx: ExecutionContext): Promise<void> {}
