// What a worker writes with `console`, where no tail of the runtime tells the platform: collected until the
// handler has ended, then sent in one call. Nothing here may be broken by what the user's code does to globals
// and prototypes, nor break that code.
import { env, waitUntil } from "cloudflare:workers";
import {
  CAPTURE_RATE,
  CAPTURE_STUB,
  MAX_LOG_BYTES,
  TOO_MUCH,
  type TakeLines,
} from "../../../observe/logs/captured.ts";
import { isSampled } from "../../../observe/logs/sampling.ts";
import { formatAll } from "./format.ts";

/** What an invocation has written and the platform has not been told. */
export interface Captured {
  readonly id: string;
  /** Lines as JSON, separated by commas. */
  text: string;
  /** Of all its lines. */
  bytes: number;
  ended: boolean;
  /** Undefined unless some are on their way. */
  sending: Promise<void> | undefined;
}

interface Capturing {
  /** An invocation begins. Undefined if what it writes is not kept. */
  begin(id: string): Captured | undefined;
  /** Its handler has ended. What else it writes is sent at once. */
  end(captured: Captured): void;
  sendAll(): Promise<void>;
}

// Those that the runtime's tail tells of.
const LEVELS = ["debug", "error", "info", "log", "warn"] as const;

const { apply } = Reflect;
const { now } = Date;
const { stringify } = JSON;

/**
 * Has what is written with `console` also be noted for the invocation that `current` says. Undefined if the
 * platform has not asked for it. To be called before the user's modules and bindings are there.
 */
export function captureConsole(current: () => Captured | undefined): Capturing | undefined {
  const granted = env as unknown as Record<string, unknown>;
  const stub = granted[CAPTURE_STUB] as { take: TakeLines } | undefined;
  if (!stub) return undefined;
  const rate = granted[CAPTURE_RATE] as number;
  // What the user's code finds in `env` is what was bound.
  delete granted[CAPTURE_STUB];
  delete granted[CAPTURE_RATE];
  // Taken now: later the user's code may have put a method of this name before it.
  const { take } = stub;

  // Without a prototype, so that nobody can change what its members do.
  const unsent = { __proto__: null } as unknown as Record<string, Captured | undefined>;

  function send(captured: Captured): void {
    if (captured.sending || captured.text === "") return;
    const { id, text } = captured;
    captured.text = "";
    delete unsent[id];
    try {
      captured.sending = deliver(captured, id, text);
      waitUntil(captured.sending);
    } catch {
      // There is no invocation any more that could wait for it.
    }
  }

  async function deliver(captured: Captured, id: string, text: string): Promise<void> {
    try {
      await take(id, `[${text}]`);
    } catch {
      // The platform says so in its own log.
    }
    captured.sending = undefined;
    // What has been written meanwhile goes together.
    if (captured.ended) send(captured);
  }

  function note(captured: Captured, level: string, message: string): void {
    captured.bytes += message.length;
    const full = captured.bytes > MAX_LOG_BYTES;
    const line = full
      ? `["warn",${now()},${stringify([TOO_MUCH])},true]`
      : `["${level}",${now()},${message}]`;
    captured.text += captured.text === "" ? line : `,${line}`;
    unsent[captured.id] = captured;
    if (captured.ended) send(captured);
  }

  let formatting = false;
  for (const level of LEVELS) {
    const original = console[level];
    const methods = {
      [level](...args: unknown[]): void {
        apply(original, console, args);
        const captured = current();
        // What is written while arguments are read is not written by the invocation.
        if (!captured || captured.bytes > MAX_LOG_BYTES || formatting) return;
        formatting = true;
        try {
          note(captured, level, formatAll(args));
        } finally {
          formatting = false;
        }
      },
    };
    console[level] = methods[level] as (typeof console)[typeof level];
  }

  return {
    begin: (id) =>
      isSampled(id, rate)
        ? { id, text: "", bytes: 0, ended: false, sending: undefined }
        : undefined,
    end: (captured) => {
      captured.ended = true;
      send(captured);
    },
    sendAll: async () => {
      for (const id in unsent) {
        const captured = unsent[id];
        if (!captured) continue;
        send(captured);
        await captured.sending;
      }
    },
  };
}
