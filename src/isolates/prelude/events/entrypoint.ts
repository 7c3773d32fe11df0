// How the platform gives an isolate events other than requests.
import { WorkerEntrypoint } from "cloudflare:workers";
import user from "mayfly:user";
import type { BatchResult, DeliveredBatch } from "../../../bindings/queue/protocol.ts";
import type {
  EventHandlers,
  HandlerError,
  HandlerReport,
  QueueReport,
  ScheduledEvent,
} from "../../../roles/events.ts";
import { QueueBatch } from "./message-batch.ts";
import { toTraceItem } from "./trace-items.ts";

type Handler = (event: unknown, env: unknown, ctx: unknown) => unknown;
type EntrypointClass = new (ctx: unknown, env: unknown) => Record<string, Handler>;

// https://developers.cloudflare.com/workers/configuration/compatibility-flags/#queue-consumers-dont-wait-for-ctxwaituntil-to-resolve
const QUEUE_WAITS = !Cloudflare.compatibilityFlags["queue_consumer_no_wait_for_wait_until"];

/** Calls the default export's handlers and tells how they ended. It is called by the platform only. */
export class MayflyEvents extends WorkerEntrypoint implements EventHandlers {
  async handleQueue(batch: DeliveredBatch): Promise<QueueReport> {
    const result: BatchResult = { messages: {} };
    const report = await this.#run("queue", () => new QueueBatch(batch, result));
    return { ...report, result };
  }

  handleScheduled(event: ScheduledEvent, noRetry: () => Promise<void>): Promise<HandlerReport> {
    // Told while the handler still runs: what it did may be the end of its process.
    const tell = (): void => this.ctx.waitUntil(noRetry());
    return this.#run("scheduled", () => ({ ...event, type: "scheduled", noRetry: tell }));
  }

  handleTail(items: string[]): Promise<HandlerReport> {
    return this.#run("tail", () => items.map(toTraceItem));
  }

  /** The handler has ended when its promise and all that it gave to `ctx.waitUntil` have. */
  async #run(name: "queue" | "scheduled" | "tail", toEvent: () => object): Promise<HandlerReport> {
    const waits = name !== "queue" || QUEUE_WAITS;
    const { ctx, settled } = waits ? trackWaitUntil(this.ctx) : untracked(this.ctx);
    try {
      const handlers = handlersOf(this.ctx, ctx, this.env);
      if (typeof handlers?.[name] !== "function") {
        throw new Error(`Handler does not export a ${name}() function.`);
      }
      await handlers[name](toEvent(), this.env, ctx);
    } catch (error) {
      await settled();
      return { error: toHandlerError(error) };
    }
    const error = await settled();
    return error === undefined ? {} : { error: toHandlerError(error) };
  }
}

function handlersOf(
  own: ExecutionContext,
  tracked: ExecutionContext,
  env: unknown,
): Record<string, Handler> | undefined {
  if (typeof user !== "function") return user as Record<string, Handler> | undefined;
  // The runtime makes entrypoints with contexts of its own only.
  const instance = new (user as EntrypointClass)(own, env);
  Object.defineProperty(instance, "ctx", { value: tracked });
  return instance;
}

interface Tracked {
  ctx: ExecutionContext;
  settled: () => Promise<unknown>;
}

const untracked = (ctx: ExecutionContext): Tracked => ({ ctx, settled: async () => undefined });

/** `settled` resolves when all work given to `waitUntil` has ended: with what failed first, if any. */
function trackWaitUntil(own: ExecutionContext): Tracked {
  const pending: Promise<unknown>[] = [];
  const waitUntil = (promise: Promise<unknown>): void => {
    pending.push(promise);
    // What fails is told once, by `settled`.
    own.waitUntil(Promise.resolve(promise).catch(() => undefined));
  };
  const ctx = new Proxy(own, {
    get(target, name) {
      if (name === "waitUntil") return waitUntil;
      const member: unknown = Reflect.get(target, name);
      return typeof member === "function" ? (member as Handler).bind(target) : member;
    },
  });
  const settled = async (): Promise<unknown> => {
    let failed: { reason: unknown } | undefined;
    // Work may give more work to wait for.
    for (let promise = pending.shift(); promise; promise = pending.shift()) {
      await Promise.resolve(promise).catch((reason: unknown) => (failed ??= { reason }));
    }
    return failed && (failed.reason ?? new Error(String(failed.reason)));
  };
  return { ctx, settled };
}

function toHandlerError(error: unknown): HandlerError {
  if (!(error instanceof Error)) return { name: "Error", message: String(error) };
  const { name, message, stack } = error;
  return { name, message, ...(stack !== undefined && { stack }) };
}
