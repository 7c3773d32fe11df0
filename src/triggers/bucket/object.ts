import { DurableObject } from "cloudflare:workers";
import type { Env } from "../../env.ts";

/** The notifications of one bucket: intents before a change, messages after it. */
export class BucketObject extends DurableObject<Env> {}
