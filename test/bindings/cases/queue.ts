import { deepEqual, equal, ok, rejects } from "../assert.ts";
import type { Case, CaseEnv, Differences } from "../case.ts";

// What a producer sees. The suite's worker also consumes its queue, so that some cases can say what
// arrives: `consume` writes it into KV, under the word that each of their bodies contains.

const MAX_MESSAGE_BYTES = 128_000;
const ARRIVES_WITHIN_MS = 10_000;

// What TypeScript would refuse is passed as this, on purpose.
const wrong = <T>(value: unknown): T => value as T;

const failed = (method: string, position: number, type: string): string =>
  `Failed to execute '${method}' on 'WorkerQueue': parameter ${position} is not of type '${type}'.`;

const requires = (type: string, wanted: string, given: string): string =>
  `Content Type "${type}" requires a value of type ${wanted}, but received: ${given}`;

const typeError = (run: () => unknown, message: string): Promise<void> =>
  rejects(run, "TypeError", message);

// Where Cloudflare's own service refuses, its code comes last. Miniflare always says 15000.
const refused = (run: () => unknown): Promise<void> => rejects(run, "Error", /\(\d{5}\)$/);

/** What a consumer was given, as JSON can say it. */
interface Arrived {
  body: unknown;
  kind: string;
  attempts: number;
  id: string;
  timestamp: number;
  queue: string;
  wrongRetry: string;
}

/** Runs as the suite's `queue()` handler. */
export async function consume(batch: MessageBatch, env: CaseEnv): Promise<void> {
  for (const message of batch.messages) {
    const { body, attempts, id, timestamp } = message;
    const arrived: Arrived = {
      body: toPlain(body),
      kind: Object.prototype.toString.call(body),
      attempts,
      id,
      timestamp: timestamp.getTime(),
      queue: batch.queue,
      wrongRetry: messageOf(() => message.retry(wrong(5))),
    };
    const json = JSON.stringify(arrived);
    const marker = /marked-\w+/.exec(json)?.[0];
    if (marker) await env.KV.put(marker, json);
  }
}

function toPlain(body: unknown): unknown {
  if (body instanceof ArrayBuffer) return new TextDecoder().decode(body);
  if (body instanceof Map) return Array.from(body, ([key, value]) => [key, toPlain(value)]);
  return body instanceof Date ? body.getTime() : body;
}

function messageOf(run: () => unknown): string {
  try {
    run();
    return "did not throw";
  } catch (error) {
    return String(error);
  }
}

/** What became of the message with this word. */
async function arrival({ KV }: CaseEnv, marker: string): Promise<Arrived> {
  for (const start = Date.now(); Date.now() - start < ARRIVES_WITHIN_MS;) {
    const arrived = await KV.get<Arrived>(marker, "json");
    if (arrived) return arrived;
    await scheduler.wait(50);
  }
  throw new Error(`${marker} did not arrive within ${ARRIVES_WITHIN_MS} ms`);
}

const sending: Record<string, Case> = {
  async "send and metrics tell what waits"({ QUEUE }) {
    const { metadata } = await QUEUE.send("metrics", { delaySeconds: 60 });
    const metrics = await QUEUE.metrics();
    for (const each of [metadata.metrics, metrics]) {
      equal(typeof each.backlogCount, "number");
      equal(typeof each.backlogBytes, "number");
      const oldest: unknown = each.oldestMessageTimestamp;
      ok(oldest === undefined || oldest instanceof Date);
    }
  },
  async "sendBatch takes anything that can be iterated"({ QUEUE }) {
    const messages = [{ body: 1 }, { body: 2, contentType: "text" as const }];
    await QUEUE.sendBatch(new Set([{ body: 1 }]));
    await QUEUE.sendBatch(
      (function* () {
        yield { body: 1 };
      })(),
    );
    await typeError(
      () => QUEUE.sendBatch(messages),
      'Content Type "text" requires a value of type string, but received: number',
    );
  },
  async "wrong arguments are refused as by the runtime"({ QUEUE }) {
    const { send, sendBatch } = wrong<
      Record<"send" | "sendBatch", (...args: unknown[]) => unknown>
    >({
      send: (...args: [unknown]) => QUEUE.send(...args),
      sendBatch: (...args: [never]) => QUEUE.sendBatch(...args),
    });
    await typeError(() => send(), failed("send", 1, "Value"));
    await typeError(() => send(1, 5), failed("send", 2, "SendOptions"));
    await typeError(() => send(undefined), "Message body cannot be undefined");
    for (const args of [[], ["abc"], [{}], [null]]) {
      await typeError(() => sendBatch(...args), failed("sendBatch", 1, "Sequence"));
    }
    await typeError(() => sendBatch([{ body: 1 }], 5), failed("sendBatch", 2, "SendBatchOptions"));
    await typeError(() => sendBatch([]), "sendBatch() requires at least one message");
    await typeError(() => sendBatch([{}]), "Message body cannot be undefined");
    await typeError(
      () => sendBatch([1]),
      "Incorrect type: the provided value is not of type 'MessageSendRequest'.",
    );
  },
  async "bodies must be what their content type says"({ QUEUE }) {
    const send = (body: unknown, contentType: string): Promise<unknown> =>
      QUEUE.send(body, { contentType: contentType as QueueContentType });
    await typeError(() => send(1, "text"), requires("text", "string", "number"));
    await typeError(() => send("x", "bytes"), requires("bytes", "ArrayBufferView", "string"));
    await typeError(
      () => send(new ArrayBuffer(1), "bytes"),
      requires("bytes", "ArrayBufferView", "object"),
    );
    await typeError(() => send(1, "xml"), "Unsupported queue message content type: xml");
    await typeError(() => send(1n, "json"), "Do not know how to serialize a BigInt");
    await rejects(() => send(() => 1, "v8"), "DataCloneError", /could not be cloned\.$/);
    await send("any case will do", "TEXT");
  },
  async "delays are whole numbers from 0 to 86,400"({ QUEUE }) {
    const send = (delaySeconds: unknown): Promise<unknown> =>
      QUEUE.send("delay", { delaySeconds: wrong(delaySeconds) });
    for (const delay of [0, 86_400, 1.7, "3"]) await send(delay);
    await refused(() => send(-1));
    await refused(() => send(86_401));
    await refused(() => QUEUE.sendBatch([{ body: 1, delaySeconds: -1 }]));
    await refused(() => QUEUE.sendBatch([{ body: 1 }], { delaySeconds: 86_401 }));
    await typeError(
      () => send(1e12),
      "Value out of range. Must be between -2147483648 and 2147483647 (inclusive).",
    );
  },
  async "messages and batches have limits"({ QUEUE }) {
    // JSON puts the string between quotes.
    const largest = "x".repeat(MAX_MESSAGE_BYTES - 2);
    const delaySeconds = 60;
    await QUEUE.send(largest, { delaySeconds });
    await refused(() => QUEUE.send(`${largest}x`));
    // Two bytes each in UTF-8.
    await refused(() => QUEUE.send("ä".repeat(MAX_MESSAGE_BYTES / 2), { contentType: "json" }));
    await refused(() =>
      QUEUE.send(new Uint8Array(MAX_MESSAGE_BYTES + 1), { contentType: "bytes" }),
    );
    await refused(() => QUEUE.send([largest, "xx"], { contentType: "v8" }));
    await QUEUE.sendBatch([{ body: largest }, { body: largest }], { delaySeconds });
    await refused(() => QUEUE.sendBatch([{ body: largest }, { body: largest }, { body: largest }]));
    const many = Array.from({ length: 100 }, () => ({ body: 1 }));
    await QUEUE.sendBatch(many, { delaySeconds });
    await refused(() => QUEUE.sendBatch([...many, { body: 1 }]));
  },
};

const arriving: Record<string, Case> = {
  async "a message arrives with its id, time and first attempt"(env) {
    const before = Date.now();
    await env.QUEUE.send({ word: "marked-shape" });
    const arrived = await arrival(env, "marked-shape");
    deepEqual(arrived.body, { word: "marked-shape" });
    equal(arrived.attempts, 1);
    ok(/^[0-9a-f]{32}$/.test(arrived.id), arrived.id);
    ok(arrived.timestamp >= before - 1000 && arrived.timestamp <= Date.now());
    equal(arrived.queue, "bindings-suite");
    equal(
      arrived.wrongRetry,
      "TypeError: Failed to execute 'retry' on 'QueueMessage': parameter 1 is not of type 'QueueRetryOptions'.",
    );
  },
  async "a message arrives as its content type says"(env) {
    const { QUEUE } = env;
    const bytes = new TextEncoder().encode("  marked-bytes");
    class Point {
      readonly x = "marked-v8";
    }
    await QUEUE.sendBatch([
      { body: "marked-text", contentType: "text" },
      { body: bytes.subarray(2), contentType: "bytes" },
      {
        body: new Map<string, unknown>([
          ["at", new Date(5)],
          ["point", new Point()],
        ]),
        contentType: "v8",
      },
      { body: { at: new Date(5), word: "marked-json", gone: undefined } },
    ]);
    const kinds: Record<string, [kind: string, body: unknown]> = {
      text: ["[object String]", "marked-text"],
      bytes: ["[object ArrayBuffer]", "marked-bytes"],
      v8: [
        "[object Map]",
        [
          ["at", 5],
          ["point", { x: "marked-v8" }],
        ],
      ],
      json: ["[object Object]", { at: new Date(5).toISOString(), word: "marked-json" }],
    };
    for (const [type, expected] of Object.entries(kinds)) {
      const { kind, body } = await arrival(env, `marked-${type}`);
      deepEqual([kind, body], expected);
    }
  },
  async "a text with a NUL arrives whole"(env) {
    await env.QUEUE.send("marked-nul\0 and more", { contentType: "text" });
    equal((await arrival(env, "marked-nul")).body, "marked-nul\0 and more");
  },
};

export const cases: Record<string, Case> = { ...sending, ...arriving };

export const differences: Differences = {
  "a text with a NUL arrives whole": {
    on: "miniflare",
    why: "Miniflare ends a text at a NUL",
  },
};
