// Modules of an isolate's graph that are not known when the prelude is built.
// Each becomes `./<name>.js` beside it: see scripts/preludes.ts and src/isolates/module-graph.ts.

/** What must be there before the user's modules run: `first.ts`. */
declare module "mayfly:first" {
  export function callLater(call: () => void, ms: number): void;
  export const freeze: typeof Object.freeze;
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

// In the runtime since it has the Worker Loader; not yet in its published types.
declare module "cloudflare:workers" {
  export function abortIsolate(reason?: string): never;
}
