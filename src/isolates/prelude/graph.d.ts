// Modules of an isolate's graph that are not known when the prelude is built.
// Each becomes `./<name>.js` beside it: see scripts/preludes.ts and src/isolates/module-graph.ts.

/** What must be there before the user's modules run: `first.ts`. */
declare module "mayfly:first" {
  export function callLater(call: () => void, ms: number): void;
  export const freeze: typeof Object.freeze;
  export function enterCallsBy(enter: (id: string, call: () => unknown) => unknown): void;
}

/** Where it must be known which invocation is at work: `context.ts`. */
declare module "mayfly:context" {
  export function currentInvocation(): string | undefined;
}

/** `named-calls.ts`, or nothing. */
declare module "mayfly:named-calls" {}

/** The main module of most isolates: `main.ts`. */
declare module "mayfly:main" {
  const handler: unknown;
  export default handler;
}

/** The main module of isolates that know which invocation is at work: `main-in-context.ts`. */
declare module "mayfly:main-in-context" {
  /** What only the platform may do. */
  export interface Context {
    /** Makes the call as a part of the invocation that the request belongs to. */
    enter(request: unknown, call: () => unknown): unknown;
    /** Passes on what has been written with `console` and waits to be. */
    sendAll(): Promise<void>;
  }
  export function mayflyTakeContext(given: Context): void;
}

/** The user's main module. */
declare module "mayfly:user" {
  const handler: unknown;
  export default handler;
}

/** For each kind of binding that the version has, the function that shapes it. */
declare module "mayfly:kinds" {
  export const wrappers: Record<string, (stub: unknown, binding: { name: string }) => unknown>;
}

/** The bindings to shape. */
declare module "mayfly:bindings" {
  const bindings: { name: string; kind: string }[];
  export default bindings;
}

// As far as it is used here; by the flag `nodejs_als`.
declare module "node:async_hooks" {
  export class AsyncLocalStorage<T> {
    run<R>(store: T, call: () => R): R;
    getStore(): T | undefined;
  }
}

// In the runtime since it has the Worker Loader; not yet in its published types.
declare module "cloudflare:workers" {
  export function abortIsolate(reason?: string): never;
}
