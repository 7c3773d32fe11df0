import { DurableObject } from "cloudflare:workers";

// Mayfly has no Durable Objects yet.
export class Counter extends DurableObject {}

export default {};
