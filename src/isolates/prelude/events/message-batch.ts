import type {
  BatchResult,
  DeliveredBatch,
  DeliveredMessage,
} from "../../../bindings/queue/protocol.ts";

/** What has been said of the batch: shared by the batch and its messages. */
type Said = BatchResult;

const ignored = (call: string, earlier: string): void =>
  console.warn(`${call} after ${earlier} has no effect.`);

// Like the runtime's own: the first word on a message counts, and once there is one on the batch
// nothing said of a message counts any more.
class QueueMessage implements Message {
  readonly id: string;
  readonly timestamp: Date;
  readonly body: unknown;
  readonly attempts: number;
  readonly #said: Said;

  constructor({ id, timestamp, contentType, body, attempts }: DeliveredMessage, said: Said) {
    this.id = id;
    this.timestamp = new Date(timestamp);
    this.body = contentType === "json" ? JSON.parse(body as string) : toBytes(body);
    this.attempts = attempts;
    this.#said = said;
  }

  ack(): void {
    this.#say("ack()", { action: "ack" });
  }

  retry(options?: QueueRetryOptions): void {
    this.#say("retry()", { action: "retry", ...delayOf(options) });
  }

  #say(call: string, word: BatchResult["messages"][string]): void {
    const { all, messages } = this.#said;
    const earlier = messages[this.id];
    if (all) {
      if (all.action !== word.action)
        ignored(`${call} on message ${this.id}`, `${all.action}All()`);
    } else if (!earlier) messages[this.id] = word;
    else if (earlier.action !== word.action) {
      ignored(`${call} on message ${this.id}`, `${earlier.action}()`);
    }
  }
}

// Bytes come by RPC as an ArrayBuffer; a consumer sees a Uint8Array.
const toBytes = (body: unknown): unknown =>
  body instanceof ArrayBuffer ? new Uint8Array(body) : body;

function delayOf(options: QueueRetryOptions | undefined): { delaySeconds?: number } {
  const delaySeconds = options?.delaySeconds;
  return delaySeconds === undefined ? {} : { delaySeconds: Number(delaySeconds) };
}

/** The batch that a `queue()` handler is given; it writes what the handler says into `said`. */
export class QueueBatch implements MessageBatch {
  readonly messages: readonly QueueMessage[];
  readonly queue: string;
  readonly metadata: MessageBatchMetadata;
  readonly #said: Said;

  constructor({ queueName, messages, backlog }: DeliveredBatch, said: Said) {
    this.messages = messages.map((message) => new QueueMessage(message, said));
    this.queue = queueName;
    const { backlogCount, backlogBytes, oldestMessageTimestamp: oldest } = backlog;
    this.metadata = {
      metrics: {
        backlogCount,
        backlogBytes,
        ...(oldest !== undefined && { oldestMessageTimestamp: new Date(oldest) }),
      },
    };
    this.#said = said;
  }

  ackAll(): void {
    if (this.#said.all?.action === "retry") ignored("ackAll()", "retryAll()");
    else this.#said.all = { action: "ack" };
  }

  retryAll(options?: QueueRetryOptions): void {
    if (this.#said.all?.action === "ack") ignored("retryAll()", "ackAll()");
    else this.#said.all = { action: "retry", ...delayOf(options) };
  }
}
