// Knows which invocation the code that runs belongs to, in isolates that serve several at once. Runs before
// the user's modules and takes the runtime's own functions, as first.ts does. The user's code can import this
// module: it learns its own invocation's id, which its request's headers say as well. What could tell the
// platform another one goes to the main module alone.
import { AsyncLocalStorage } from "node:async_hooks";
import { take } from "mayfly:main-in-context";
import { captureConsole, type Captured } from "./console/capture.ts";

interface Scope {
  id: string | undefined;
  /** What it has written with `console`; undefined if nobody keeps that. */
  captured: Captured | undefined;
}

// As the platform calls it; see INVOCATION_ID_HEADER.
const ID_HEADER = "cf-ray";

const { apply } = Reflect;
const getHeader = Headers.prototype.get;
// By compatibility dates of before 2022-01-31 each request has its own, which the user's code cannot change.
const getHeaders = Object.getOwnPropertyDescriptor(Request.prototype, "headers")?.get;

const storage = new AsyncLocalStorage<Scope>();
const run = storage.run.bind(storage) as <T>(scope: Scope, call: () => T) => T;
const current = storage.getStore.bind(storage);
const capturing = captureConsole(() => current()?.captured);

/** The id of the invocation that is at work; undefined at the top level, and where it is not known. */
export const currentInvocation = (): string | undefined => current()?.id;

/** Makes the call, and all that it leads to, as a part of the invocation that the request belongs to. */
async function enter(request: unknown, call: () => unknown): Promise<unknown> {
  // An entrypoint that is called by the worker itself, or by a class derived from it.
  if (current()) return call();
  const id = idOf(request);
  const captured = id === undefined ? undefined : capturing?.begin(id);
  try {
    return await run({ id, captured }, call);
  } finally {
    if (captured) capturing?.end(captured);
  }
}

function idOf(request: unknown): string | undefined {
  try {
    const headers = getHeaders ? apply(getHeaders, request, []) : (request as Request).headers;
    return (apply(getHeader, headers, [ID_HEADER]) as string | null) ?? undefined;
  } catch {
    return undefined;
  }
}

take({ enter, sendAll: () => capturing?.sendAll() });
