import { DurableObject } from "cloudflare:workers";
import type { Env } from "../../env.ts";

/** The sessions of `wrangler tail` of one script; named by its id. */
export class TailObject extends DurableObject<Env> {}
