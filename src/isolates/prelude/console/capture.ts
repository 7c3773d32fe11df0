// What a worker writes with `console`, where no tail of the runtime tells the platform: collected for a moment,
// then sent in one call for all invocations. Nothing here may be broken by what the user's code does to globals
// and prototypes, nor break that code.
import { env, waitUntil } from "cloudflare:workers";
import { callLater } from "mayfly:first";
import {
  CAPTURE_RATE,
  CAPTURE_STUB,
  MAX_LOG_BYTES,
  TOO_MUCH,
  type TakeLines,
} from "../../../observe/logs/captured.ts";
import { isSampled } from "../../../observe/logs/sampling.ts";
import { formatAll } from "./format.ts";

/** An invocation, as far as it is counted here. */
interface Writer {
  /** Of its lines. */
  bytes: number;
}

// A call costs as much as a small request.
const COLLECT_MS = 50;
/** With so many characters it is not waited for more. */
const MANY = 1024 * 1024;
// More than the invocations of a moment may write, should the platform not take it.
const MAX_UNSENT = 16 * 1024 * 1024;
/** Who has been to send for so long has ended with its invocation. */
const SENDER_GONE_MS = 5_000;

// Those that the runtime's tail tells of.
const LEVELS = ["debug", "error", "info", "log", "warn"] as const;

const { apply } = Reflect;
const { now } = Date;
const { stringify } = JSON;

/**
 * Has what is written with `console` passed on to the platform, if it has asked for it, each line with the id
 * of its invocation. Returns a function that passes on at once what waits. To be called before the user's modules
 * and bindings are there.
 */
export function captureConsole<W extends Writer>(
  current: () => W | undefined,
  idOf: (writer: W) => string | undefined,
): () => Promise<void> {
  const granted = env as unknown as Record<string, unknown>;
  const stub = granted[CAPTURE_STUB] as { take: TakeLines } | undefined;
  if (!stub) return async () => undefined;
  const rate = granted[CAPTURE_RATE] as number;
  // What the user's code finds in `env` is what was bound.
  delete granted[CAPTURE_STUB];
  delete granted[CAPTURE_RATE];
  // Taken now: later the user's code may have put a method of this name before it.
  const { take } = stub;

  // Lines as JSON, with commas between them.
  let unsent = "";
  let sendingSince = 0;

  async function send(): Promise<void> {
    while (unsent !== "") {
      const lines = `[${unsent}]`;
      unsent = "";
      try {
        await take(lines);
      } catch {
        // The process is about to end, or the platform's own log says why.
      }
    }
    sendingSince = 0;
  }

  function sendSoon(): void {
    const at = now();
    const many = unsent.length > MANY;
    if (!many && at - sendingSince < SENDER_GONE_MS) return;
    sendingSince = at;
    if (many) waitUntil(send());
    else callLater(() => waitUntil(send()), COLLECT_MS);
  }

  function note(writer: W, level: string, args: unknown[]): void {
    const id = idOf(writer);
    if (id === undefined || !isSampled(id, rate)) return;
    const message = formatAll(args);
    writer.bytes += message.length;
    if (unsent.length > MAX_UNSENT) return;
    if (unsent !== "") unsent += ",";
    unsent +=
      writer.bytes > MAX_LOG_BYTES
        ? `[${stringify(id)},"warn",${now()},["${TOO_MUCH}"],true]`
        : `[${stringify(id)},"${level}",${now()},${message}]`;
    sendSoon();
  }

  let noting = false;
  for (const level of LEVELS) {
    const original = console[level];
    const methods = {
      [level](...args: unknown[]): void {
        apply(original, console, args);
        const writer = current();
        // What is written while arguments are read is not written by the invocation.
        if (!writer || writer.bytes > MAX_LOG_BYTES || noting) return;
        noting = true;
        try {
          note(writer, level, args);
        } catch {
          // Nobody's work should fail for what is written about it.
        } finally {
          noting = false;
        }
      },
    };
    console[level] = methods[level] as (typeof console)[typeof level];
  }
  return send;
}
