import type { TraceContext } from "./context.ts";

/**
 * Invocations that have ended for the dispatcher, when their bodies had left, may still call in work that they
 * gave to `waitUntil`. As many as an executor serves in some seconds.
 */
const MAX_REMEMBERED = 10_000;

interface Ended {
  versionId: string;
  context: TraceContext;
}

/** By the invocation's id; the oldest first. */
const ended = new Map<string, Ended>();

/** `context`: what the invocation's calls have as their parent. */
export function rememberLately(id: string, versionId: string, context: TraceContext): void {
  ended.set(id, { versionId, context });
  if (ended.size <= MAX_REMEMBERED) return;
  for (const [oldest] of ended) {
    ended.delete(oldest);
    break;
  }
}

/** The same, if an invocation of the version has ended lately that has this id. */
export function lately(id: string | null | undefined, versionId: string): TraceContext | undefined {
  const found = id ? ended.get(id) : undefined;
  return found?.versionId === versionId ? found.context : undefined;
}
