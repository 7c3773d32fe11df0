import type { Env } from "../../env.ts";
import { log } from "../log.ts";
import type { Traced } from "./trace-item.ts";

/** Long enough for many to share a call, too short to be felt. */
const WAIT_MS = 50;
/** Of one receiver; more is missed. */
const MAX_ITEMS = 1_000;
/** Of all receivers, in characters: a quarter of what a call can carry. */
const MAX_CHARACTERS = 8 * 1024 * 1024;
/** Who sends is gone if nothing was heard of it for so long: it went away with its request. */
const SENDER_GONE_MS = 5_000;

/** Gives a receiver what waits for it; `missed` is how many there was no room for. */
export type Send = (
  receiver: string,
  items: Traced[],
  missed: number,
  env: Env,
  ctx: ExecutionContext,
) => Promise<unknown>;

/** Invocations on their way to those who are told of them at once. Nothing of it outlives the process. */
export class Outbox {
  readonly #send: Send;
  #waiting = new Map<string, { items: Traced[]; missed: number }>();
  #characters = 0;
  #sendingAt = 0;

  /** What is there is not sent before `send` is done with what was there before. */
  constructor(send: Send) {
    this.#send = send;
  }

  add(receiver: string, item: Traced, env: Env, ctx: ExecutionContext): void {
    let waiting = this.#waiting.get(receiver);
    if (!waiting) this.#waiting.set(receiver, (waiting = { items: [], missed: 0 }));
    const { length } = item.json;
    if (waiting.items.length < MAX_ITEMS && this.#characters + length <= MAX_CHARACTERS) {
      waiting.items.push(item);
      this.#characters += length;
    } else waiting.missed++;
    const now = Date.now();
    if (now - this.#sendingAt < SENDER_GONE_MS) return;
    this.#sendingAt = now;
    ctx.waitUntil(this.#sendAll(env, ctx));
  }

  async #sendAll(env: Env, ctx: ExecutionContext): Promise<void> {
    do {
      await scheduler.wait(WAIT_MS);
      const taken = this.#waiting;
      this.#waiting = new Map();
      this.#characters = 0;
      for (const [receiver, { items, missed }] of taken) {
        this.#sendingAt = Date.now();
        try {
          await this.#send(receiver, items, missed, env, ctx);
        } catch (error) {
          log("warn", "tail_lost", { invocations: items.length, message: String(error) });
        }
      }
    } while (this.#waiting.size > 0);
    this.#sendingAt = 0;
  }
}
