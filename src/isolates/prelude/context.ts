// Knows which invocation the code that runs belongs to, in isolates that serve several at once. Runs before
// the user's modules and takes the runtime's own functions, as first.ts does. The user's code can import this
// module: it learns its own invocation's id, which its request's headers say as well. What could tell the
// platform another one goes to the main module alone.
import { AsyncLocalStorage } from "node:async_hooks";
import { enterCallsBy } from "mayfly:first";
import { mayflyTakeContext } from "mayfly:main-in-context";
import { captureConsole } from "./console/capture.ts";

/** An invocation at work. */
interface Scope {
  request: unknown;
  /** Found out when it is first asked for. */
  id: string | undefined;
  asked: boolean;
  /** Of what it has written with `console`. */
  bytes: number;
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

/** The id of the invocation that is at work; undefined at the top level, and where it is not known. */
export const currentInvocation = (): string | undefined => idOf(current());

function idOf(scope: Scope | undefined): string | undefined {
  if (scope && !scope.asked) {
    scope.asked = true;
    scope.id = readId(scope.request);
  }
  return scope?.id;
}

function readId(request: unknown): string | undefined {
  try {
    const headers = getHeaders ? apply(getHeaders, request, []) : (request as Request).headers;
    return (apply(getHeader, headers, [ID_HEADER]) as string | null) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Makes the call, and all that it leads to, as a part of the invocation that the request belongs to. */
function enter<T>(request: unknown, call: () => T): T {
  // An entrypoint that is called by the worker itself, or by a class derived from it.
  if (current()) return call();
  return run({ request, id: undefined, asked: false, bytes: 0 }, call);
}

// The same for calls of methods, whose names say it.
enterCallsBy((id, call) =>
  current() ? call() : run({ request: undefined, id, asked: true, bytes: 0 }, call),
);

mayflyTakeContext({ enter, sendAll: captureConsole(current, idOf) });
