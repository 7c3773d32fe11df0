// The main module of every isolate: the user's exports, and one entrypoint for the platform.
import { callLater, freeze } from "mayfly:first";
import { WorkerEntrypoint, abortIsolate } from "cloudflare:workers";
import user from "mayfly:user";
import { keepStack } from "./calls/keep-stack.ts";

export * from "mayfly:user";
export { MayflyEvents } from "./events/entrypoint.ts";

type Handler = (...args: unknown[]) => unknown;
interface Fetching {
  fetch(...args: unknown[]): unknown;
}
type EntrypointClass = new (ctx: ExecutionContext, env: unknown) => Fetching;

function defaultEntrypoint(): unknown {
  if (typeof user === "function") {
    const Base = user as EntrypointClass;
    if (!("fetch" in Base.prototype)) return Base;
    return class extends Base {
      override async fetch(...args: unknown[]): Promise<unknown> {
        try {
          return await super.fetch(...args);
        } catch (error) {
          throw keepStack(error);
        }
      }
    };
  }
  const handlers = user as { fetch?: Handler } | undefined;
  // Only what exists is offered, so that a missing handler gets the runtime's own message.
  if (typeof handlers?.fetch !== "function") return {};
  return {
    async fetch(request: unknown, env: unknown, ctx: unknown): Promise<unknown> {
      try {
        return await handlers.fetch?.(request, env, ctx);
      } catch (error) {
        throw keepStack(error);
      }
    },
  };
}

export default defaultEntrypoint();

const HANDLERS = ["fetch", "scheduled", "queue", "email", "tail", "trace", "test"];
// So that the call which asks for it can return before its isolate is gone.
const EVICTION_DELAY_MS = 1;

/** What the platform asks of an isolate. It is called by the platform only. */
export class MayflyControl extends WorkerEntrypoint {
  /**
   * Answers once the isolate has started. By fetch, since then all that the runtime makes for an
   * isolate's first request is there when the user's comes.
   */
  override fetch(request: Request): Response {
    return new Response(request.headers.get("accept"), {
      headers: { "content-type": "text/plain" },
    });
  }

  /** The handlers that the default export has. */
  handlers(): string[] {
    const target = (typeof user === "function" ? user.prototype : user) as object | undefined;
    return HANDLERS.filter(
      (name) => typeof (target as Record<string, unknown> | undefined)?.[name] === "function",
    );
  }

  /** Ends the isolate a moment after returning, with whatever still runs in it. */
  evict(): void {
    callLater(() => abortIsolate("evicted by the platform"), EVICTION_DELAY_MS);
  }
}
// The user's code can import this module.
freeze(MayflyControl);
freeze(MayflyControl.prototype);
