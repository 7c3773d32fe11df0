import { WorkerEntrypoint } from "cloudflare:workers";
import type { Env } from "../../env.ts";
import { stateOf } from "../../roles/contract.ts";
import { forward } from "../../roles/forward.ts";
import { toText } from "../../observe/traces/context.ts";
import type { CallSpan } from "../../observe/traces/calls.ts";
import { describeQueue } from "../../observe/traces/operations.ts";
import { metered, type CallerProps } from "../metered.ts";
import type { Backlog, NewMessage, QueueMethods } from "./protocol.ts";

/** Set by the platform when it gives a version its bindings. */
export interface QueueProps extends CallerProps {
  accountId: string;
  queueName: string;
  /** Seconds: the binding's own `delivery_delay`. */
  deliveryDelay?: number;
}

/** What an isolate holds of a queue that it sends to. */
export class QueueBinding extends WorkerEntrypoint<Env, QueueProps> implements QueueMethods {
  /** Of the call; see `metered`. */
  span?: CallSpan;

  sendMessages(messages: NewMessage[]): Promise<Backlog> {
    const { accountId, queueName, deliveryDelay } = this.ctx.props;
    const trace = this.span && toText(this.span.context);
    // Only what a worker may say: neither ids nor keys.
    const sent = messages.map(({ body, contentType, delaySeconds = deliveryDelay }) => ({
      body,
      contentType,
      ...(delaySeconds !== undefined && { delaySeconds }),
      ...(trace !== undefined && { trace }),
    }));
    return forward(stateOf(this.env, this.ctx).sendMessages(accountId, queueName, sent));
  }

  backlog(): Promise<Backlog> {
    const { accountId, queueName } = this.ctx.props;
    return forward(stateOf(this.env, this.ctx).queueBacklog(accountId, queueName));
  }
}
metered(QueueBinding, "queue", { sendMessages: "send", backlog: "metrics" }, describeQueue);
