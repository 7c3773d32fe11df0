// Runs inside users' isolates: turns the stub of a `QueueBinding` into a `Queue`.
import { pick, requireArguments, toInt, wrongArgument } from "../client-arguments.ts";
import type { Backlog, ContentType, NewMessage, QueueMethods } from "./protocol.ts";

const OWNER = "WorkerQueue";
const DEFAULT_TYPE = Cloudflare.compatibilityFlags["queues_json_messages"] ? "json" : "v8";

class QueueClient {
  readonly #stub: QueueMethods;

  constructor(stub: QueueMethods) {
    this.#stub = stub;
  }

  get [Symbol.toStringTag](): string {
    return OWNER;
  }

  async send(...args: [body: unknown, options?: QueueSendOptions]): Promise<QueueSendResponse> {
    requireArguments(args.length, "send", OWNER, ["Value"]);
    const [body, options] = args;
    const picked = pick(
      options,
      ["contentType", "delaySeconds"],
      ["send", OWNER, 2, "SendOptions"],
    );
    return toResponse(await this.#stub.sendMessages([toMessage({ ...picked, body })]));
  }

  async sendBatch(
    messages: Iterable<MessageSendRequest>,
    options?: QueueSendBatchOptions,
  ): Promise<QueueSendBatchResponse> {
    if (!isObject(messages) || !(Symbol.iterator in messages)) {
      throw wrongArgument("sendBatch", OWNER, 1, "Sequence");
    }
    const all = pick(options, ["delaySeconds"], ["sendBatch", OWNER, 2, "SendBatchOptions"]);
    const sent = Array.from(messages, (message) => {
      if (!isObject(message)) {
        throw new TypeError(
          "Incorrect type: the provided value is not of type 'MessageSendRequest'.",
        );
      }
      const picked = pick(message, ["body", "contentType", "delaySeconds"]);
      return toMessage({ ...all, ...picked });
    });
    if (sent.length === 0) throw new TypeError("sendBatch() requires at least one message");
    return toResponse(await this.#stub.sendMessages(sent));
  }

  async metrics(): Promise<QueueMetrics> {
    return toMetrics(await this.#stub.backlog());
  }
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

function toMessage({ body, contentType, delaySeconds }: Partial<MessageSendRequest>): NewMessage {
  if (body === undefined) throw new TypeError("Message body cannot be undefined");
  const type = contentType === undefined ? DEFAULT_TYPE : `${contentType}`;
  const delay = toInt(delaySeconds);
  return { ...toBody(body, type), ...(delay !== undefined && { delaySeconds: delay }) };
}

function toBody(value: unknown, type: string): Pick<NewMessage, "body" | "contentType"> {
  const contentType = type.toLowerCase() as ContentType;
  switch (contentType) {
    case "json": {
      const body = JSON.stringify(value);
      if (body === undefined) throw new TypeError("Message body cannot be written as JSON");
      return { body, contentType };
    }
    case "text":
      if (typeof value !== "string") throw wrongBody("text", "string", value);
      return { body: value, contentType };
    case "bytes": {
      if (!ArrayBuffer.isView(value)) throw wrongBody("bytes", "ArrayBufferView", value);
      const { buffer, byteOffset, byteLength } = value;
      return { body: new Uint8Array(buffer, byteOffset, byteLength).slice().buffer, contentType };
    }
    case "v8":
      // What a call would pass as a stub or refuse must be treated as the runtime's serializer does.
      return { body: structuredClone(value), contentType };
    default:
      throw new TypeError(`Unsupported queue message content type: ${type}`);
  }
}

const wrongBody = (contentType: string, wanted: string, value: unknown): TypeError =>
  new TypeError(
    `Content Type "${contentType}" requires a value of type ${wanted}, but received: ${typeof value}`,
  );

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
