// Runs inside users' isolates: turns the stub of a `QueueBinding` into a `Queue`.
import type { Backlog, ContentType, NewMessage, QueueMethods } from "./protocol.ts";

class QueueClient {
  readonly #stub: QueueMethods;

  constructor(stub: QueueMethods) {
    this.#stub = stub;
  }

  get [Symbol.toStringTag](): string {
    return "Queue";
  }

  async send(body: unknown, options?: QueueSendOptions): Promise<QueueSendResponse> {
    return toResponse(await this.#stub.sendMessages([toMessage(body, options)]));
  }

  async sendBatch(
    messages: Iterable<MessageSendRequest>,
    options?: QueueSendBatchOptions,
  ): Promise<QueueSendBatchResponse> {
    const sent = Array.from(messages, (message) =>
      toMessage(message.body, { ...options, ...message }),
    );
    if (sent.length === 0) throw new TypeError("sendBatch() requires at least one message");
    return toResponse(await this.#stub.sendMessages(sent));
  }

  async metrics(): Promise<QueueMetrics> {
    return toMetrics(await this.#stub.backlog());
  }
}

function toMessage(
  body: unknown,
  { contentType = "json", delaySeconds }: QueueSendOptions = {},
): NewMessage {
  if (body === undefined) throw new TypeError("Message body cannot be undefined");
  return {
    body: toBody(body, contentType),
    contentType,
    ...(delaySeconds !== undefined && { delaySeconds }),
  };
}

function toBody(body: unknown, contentType: ContentType): unknown {
  switch (contentType) {
    case "json":
      return JSON.stringify(body);
    case "text":
      return body;
    case "bytes":
      return (body as Uint8Array).slice().buffer;
    case "v8":
      return structuredClone(body);
    default:
      throw new TypeError(`Unsupported queue message content type: ${String(contentType)}`);
  }
}

const toResponse = (backlog: Backlog): QueueSendResponse => ({
  metadata: { metrics: toMetrics(backlog) },
});

const toMetrics = ({
  backlogCount,
  backlogBytes,
  oldestMessageTimestamp: oldest,
}: Backlog): QueueMetrics => ({
  backlogCount,
  backlogBytes,
  ...(oldest !== undefined && { oldestMessageTimestamp: new Date(oldest) }),
});

/** The queue that `stub` gives access to. */
export function wrap(stub: QueueMethods): Queue {
  return new QueueClient(stub);
}
