import { ByteCache } from "../catalog/byte-cache.ts";
import { codeSize, type IsolateSource } from "../catalog/source.ts";
import type { Env } from "../env.ts";
import { histogram, timed } from "../observe/metrics/counters.ts";
import { askState } from "../roles/ask-state.ts";
import { stateOf } from "../roles/contract.ts";
import { MAX_CACHED_CODE_BYTES } from "./budget.ts";
import { toModuleGraph, type ModuleGraph } from "./module-graph.ts";

/** What isolates of a version are made from. Versions are immutable, so it never gets stale. */
export interface VersionCode {
  source: IsolateSource;
  graph: ModuleGraph;
}

const calls = histogram("mayfly_state_call_duration_seconds", { call: "load" });

const cache = new ByteCache<VersionCode>(MAX_CACHED_CODE_BYTES);

/** The code of a version, from the state role unless at hand. Throws if there is no such version. */
export async function codeOf(
  versionId: string,
  env: Env,
  ctx: ExecutionContext,
): Promise<VersionCode> {
  const cached = cache.get(versionId);
  if (cached) return cached;
  const source = await askState(() => timed(calls, stateOf(env, ctx).loadVersion(versionId)));
  if (!source) throw new Error(`Version ${versionId} is not in the catalog`);
  const code = { source, graph: toModuleGraph(source) };
  cache.set(versionId, code, codeSize(source));
  return code;
}

/** Forgets all code; what is called next comes from the state role. */
export function forgetCode(): void {
  cache.clear();
}
