import { WorkerEntrypoint } from "cloudflare:workers";
import type { Env } from "../../env.ts";

/** Set by the platform when it gives a version its bindings. */
export interface QueueProps {
  accountId: string;
  queueName: string;
  /** Seconds: the binding's own `delivery_delay`. */
  deliveryDelay?: number;
}

/** What an isolate holds of a queue that it sends to. */
export class QueueBinding extends WorkerEntrypoint<Env, QueueProps> {}
