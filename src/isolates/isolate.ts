import type { VersionTarget } from "../catalog/routing.ts";
import type { Invocation } from "../pipeline/record.ts";

/**
 * What an isolate is for.
 * - `request`: one invocation, then it is evicted. Its tail tells when that invocation is over.
 * - `shared`: plain requests of a version. Without a tail, which costs a quarter of the throughput;
 *   the dispatcher counts the requests, and `IDLE_SHARED_MS` covers what `waitUntil` may still do.
 * - `tracked`: a shared isolate for what can outlast its response unseen (WebSockets, RPC with
 *   stubs, events), with a tail that says when each is over.
 */
export type IsolateKind = "request" | "shared" | "tracked";

export const ISOLATE_KINDS: IsolateKind[] = ["request", "shared", "tracked"];

/** An isolate of this process, by the name that the Worker Loader knows it by. */
export interface Isolate {
  readonly name: string;
  readonly kind: IsolateKind;
  readonly version: VersionTarget;
  /** Estimated share of the heap cage, in bytes. */
  readonly costBytes: number;
  /** Share of its invocations whose console lines the prelude takes down, as no tail tells of them. */
  readonly captured: number;
  /** Invocations that have not ended. While there are any, age and lack of space do not evict it. */
  readonly running: Set<Invocation>;
  /** Calls of hosts and of other workers that its invocations may still make. */
  subrequestsLeft: number;
  /** When an invocation last began or ended. */
  usedAt: number;
  /** Gets no further invocations and is evicted when the last one ends. */
  retired: boolean;
}
