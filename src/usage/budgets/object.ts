import { DurableObject } from "cloudflare:workers";
import type { Env } from "../../env.ts";

/** What one account may still use, it and its scripts; named by its id. */
export class BudgetObject extends DurableObject<Env> {}
