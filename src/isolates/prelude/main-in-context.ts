// The main module of isolates in which it must be known which invocation is at work: main.ts, with what
// requests come in by made to say so.
import "mayfly:context";
import "mayfly:named-calls";
import { freeze } from "mayfly:first";
import { WorkerEntrypoint } from "cloudflare:workers";
import main, * as exported from "mayfly:main";
import type { Context } from "mayfly:main-in-context";

export * from "mayfly:main";

type Fetch = (...args: unknown[]) => unknown;

const { apply } = Reflect;

// Functions and `var` are there before any module has run, and context.ts, which this one waits for, runs
// before the user's modules: so it gives what it has to this module, and the user's code cannot take it. The
// name is none that a user's export would have, which it would hide.
// oxlint-disable-next-line no-var
var context: Context | undefined;
export function mayflyTakeContext(given: Context): void {
  context ??= given;
}

/** Has the requests that come in by what was exported belong to their invocations. */
function follow(entry: unknown): void {
  const handlers = (typeof entry === "function" ? entry.prototype : entry) as
    { fetch?: unknown } | undefined;
  try {
    const fetch = handlers?.fetch;
    if (typeof fetch !== "function") return;
    const followed = function (this: unknown, ...args: unknown[]): unknown {
      const call = (): unknown => apply(fetch as Fetch, this, args);
      return context ? context.enter(args[0], call) : call();
    };
    const descriptor = { value: followed, writable: true, configurable: true };
    Object.defineProperty(handlers, "fetch", descriptor);
  } catch {
    // What is frozen goes without, as the platform's own entrypoint does.
  }
}
for (const entry of Object.values(exported)) follow(entry);

export default main;

/** What else the platform asks of such an isolate. It is called by the platform only. */
export class MayflyContext extends WorkerEntrypoint {
  /** Passes on what has been written with `console` and waits to be. */
  async sendAll(): Promise<void> {
    await context?.sendAll();
  }
}
// The user's code can import this module.
freeze(MayflyContext);
freeze(MayflyContext.prototype);
