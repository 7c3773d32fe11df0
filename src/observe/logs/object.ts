import { DurableObject } from "cloudflare:workers";
import type { Env } from "../../env.ts";

/** The kept logs of one script; named by its id. */
export class LogsObject extends DurableObject<Env> {}
