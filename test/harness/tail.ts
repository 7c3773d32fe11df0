import { once } from "node:events";
import { WebSocket } from "ws";
import { account } from "./queue.ts";
import type { Platform } from "./platform.ts";
import { until } from "./processes.ts";

/** What `wrangler tail` prints of an invocation. */
export interface Item {
  outcome: string;
  scriptName: string | null;
  scriptVersion: { id: string; tag?: string; message?: string };
  entrypoint?: string;
  eventTimestamp: number;
  wallTime: number;
  cpuTime: number;
  truncated: boolean;
  executionModel: string;
  logs: { level: string; message: unknown[]; timestamp: number }[];
  exceptions: { name: string; message: string; stack?: string; timestamp: number }[];
  event: {
    request: { url: string; method: string; headers: Record<string, string> };
    response?: { status: number };
    [member: string]: unknown;
  };
}

/** A session as the API shows it. */
export interface Session {
  id: string;
  url: string;
  expires_at: string;
  connected: boolean;
}

/** A running `wrangler tail`. */
export interface Tail {
  /** What it has printed until now, on both streams. */
  output(): string;
  /** The invocations and notices in it, with `--format json`. */
  items(): Item[];
  /** Ends it with the signal, if one is given, and resolves with its exit code. */
  end(signal?: NodeJS.Signals): Promise<number | null>;
}

/** The script's sessions. */
export async function sessions(platform: Platform, script: string): Promise<Session[]> {
  return account<Session[]>(platform, "GET", `/workers/scripts/${script}/tails`);
}

/** Starts one `wrangler tail` of the script for each set of options, and resolves when all are connected. */
export async function startTails(
  platform: Platform,
  script: string,
  ...options: string[][]
): Promise<Tail[]> {
  const tails = options.map((args) => startTail(platform, [script, ...args]));
  await connected(platform, script, options.length, tails);
  return tails;
}

/** Resolves when so many are connected to sessions of the script. */
export async function connected(
  platform: Platform,
  script: string,
  count: number,
  tails: Tail[] = [],
): Promise<void> {
  try {
    const all = async (): Promise<Session[]> => sessions(platform, script);
    await until(async () => (await all()).filter((one) => one.connected).length >= count, 120_000);
  } catch (error) {
    throw new Error(tails.map((tail) => tail.output()).join("\n"), { cause: error });
  }
}

export function startTail(platform: Platform, args: string[]): Tail {
  const child = platform.startWrangler(["tail", ...args]);
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const closed = once(child, "close");
  return {
    output: () => stdout + stderr,
    // Each is printed in several lines, of which only the last is a closing brace at the margin.
    items: () =>
      stdout
        .split(/(?<=^\})$/m)
        .filter((text) => text.trimEnd().endsWith("}"))
        .map((text) => JSON.parse(text) as Item),
    end: async (signal) => {
      if (signal) child.kill(signal);
      await closed;
      return child.exitCode;
    },
  };
}

/** Somebody who is connected to a session as wrangler is. */
export interface Onlooker {
  session: Session;
  messages: Item[];
  /** Resolves when the connection is closed. */
  closed: Promise<{ code: number; reason: string }>;
  socket: WebSocket;
}

/** Begins a session without wrangler. */
export const beginSession = (platform: Platform, script: string, body = {}): Promise<Session> =>
  account<Session>(platform, "POST", `/workers/scripts/${script}/tails`, body);

/** Begins a session without wrangler and connects to it. */
export async function lookOn(platform: Platform, script: string, body = {}): Promise<Onlooker> {
  const session = await beginSession(platform, script, body);
  const socket = new WebSocket(session.url, "trace-v1");
  const messages: Item[] = [];
  socket.on("message", (data: Buffer) => messages.push(JSON.parse(data.toString()) as Item));
  const closed = once(socket, "close").then(([code, reason]) => ({
    code: code as number,
    reason: String(reason),
  }));
  await once(socket, "open");
  socket.send(JSON.stringify({ debug: false }), { mask: false });
  return { session, messages, closed, socket };
}
