import type { IsolateSource } from "../catalog/source.ts";
import type { Env } from "../env.ts";
import { stateOf } from "../roles/contract.ts";
import { MAX_CACHED_CODE_BYTES } from "./budget.ts";
import { toModuleGraph, type ModuleGraph } from "./module-graph.ts";

/** What isolates of a version are made from. Versions are immutable, so it never gets stale. */
export interface VersionCode {
  source: IsolateSource;
  graph: ModuleGraph;
}

// Insertion order is order of use: the first is the one to drop.
const cache = new Map<string, VersionCode & { bytes: number }>();
let cachedBytes = 0;

/** The code of a version, from the state role unless at hand. Throws if there is no such version. */
export async function codeOf(
  versionId: string,
  env: Env,
  ctx: ExecutionContext,
): Promise<VersionCode> {
  const cached = cache.get(versionId);
  if (cached) {
    cache.delete(versionId);
    cache.set(versionId, cached);
    return cached;
  }
  const source = await stateOf(env, ctx).loadVersion(versionId);
  if (!source) throw new Error(`Version ${versionId} is not in the catalog`);
  const bytes = source.modules.reduce((sum, { content }) => sum + sizeOf(content), 0);
  const code = { source, graph: toModuleGraph(source), bytes };
  if (!cache.has(versionId)) {
    cache.set(versionId, code);
    cachedBytes += bytes;
  }
  for (const [id, { bytes }] of cache) {
    if (cachedBytes <= MAX_CACHED_CODE_BYTES) break;
    cache.delete(id);
    cachedBytes -= bytes;
  }
  return code;
}

const sizeOf = (content: string | ArrayBuffer): number =>
  typeof content === "string" ? content.length : content.byteLength;
