import { pick, toInt } from "../../../bindings/client-arguments.ts";
import type {
  BatchResult,
  DeliveredBatch,
  DeliveredMessage,
} from "../../../bindings/queue/protocol.ts";

/** What has been said of the batch: shared by the batch and its messages. */
type Said = BatchResult;

const ignored = (call: string, earlier: string): void =>
  console.warn(`${call} after ${earlier} has no effect.`);

// Like the runtime's own: the first word on a message counts, and nothing said of it that contradicts
// what was said of the whole batch before. A later retry may still say how long to wait.
class QueueMessage implements Message {
  readonly id: string;
  readonly timestamp: Date;
  readonly body: unknown;
  readonly attempts: number;
  readonly #said: Said;

  constructor({ id, timestamp, contentType, body, attempts }: DeliveredMessage, said: Said) {
    this.id = id;
    this.timestamp = new Date(timestamp);
    this.body = contentType === "json" ? JSON.parse(body as string) : body;
    this.attempts = attempts;
    this.#said = said;
  }

  ack(): void {
    this.#say("ack()", { action: "ack" });
  }

  retry(options?: QueueRetryOptions): void {
    this.#say("retry()", { action: "retry", ...delayOf(options, "retry", "QueueMessage") });
  }

  #say(call: string, word: BatchResult["messages"][string]): void {
    const { all, messages } = this.#said;
    const earlier = messages[this.id];
    if (all && all.action !== word.action) {
      ignored(`${call} on message ${this.id}`, `${all.action}All()`);
    } else if (earlier && earlier.action !== word.action) {
      ignored(`${call} on message ${this.id}`, `${earlier.action}()`);
    } else messages[this.id] = { ...earlier, ...word };
  }
}

function delayOf(
  options: QueueRetryOptions | undefined,
  method: string,
  owner: string,
): { delaySeconds?: number } {
  const parameter = [method, owner, 1, "QueueRetryOptions"] as const;
  const delaySeconds = toInt(pick(options, ["delaySeconds"], parameter).delaySeconds);
  return delaySeconds === undefined ? {} : { delaySeconds };
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
    else {
      const delay = delayOf(options, "retryAll", "QueueController");
      this.#said.all = { ...this.#said.all, action: "retry", ...delay };
    }
  }
}
