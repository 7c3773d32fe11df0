import { DurableObject } from "cloudflare:workers";
import type { Env } from "../../env.ts";

/** All schedules: fires each cron once per slot. */
export class SchedulerObject extends DurableObject<Env> {}
