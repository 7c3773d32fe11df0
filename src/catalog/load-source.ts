import type { Env } from "../env.ts";
import { ByteCache } from "./byte-cache.ts";
import { findShards } from "./databases.ts";
import { loadModules } from "./modules.ts";
import { openSecrets } from "./secrets.ts";
import { codeSize, databaseIds, type IsolateSource, type SourceBinding } from "./source.ts";
import type { StoredBinding, StoredModule } from "./versions.ts";

// Versions are immutable, and soonest called after they were made.
const sources = new ByteCache<IsolateSource>(64 * 1024 * 1024);

/** Keeps the source of a version at hand. */
export function rememberSource(source: IsolateSource): void {
  sources.set(source.versionId, source, codeSize(source));
}

/** Everything an isolate of the version is made of, secrets in clear; undefined if unknown. */
export async function loadSource(env: Env, versionId: string): Promise<IsolateSource | undefined> {
  const remembered = sources.get(versionId);
  if (remembered) return remembered;
  const source = await readSource(env, versionId);
  if (source) rememberSource(source);
  return source;
}

async function readSource(env: Env, versionId: string): Promise<IsolateSource | undefined> {
  const row = await env.CATALOG.prepare(
    `SELECT s.account_id, s.name, v.created_at, v.main_module, v.modules, v.bindings,
      v.compatibility_date, v.compatibility_flags, v.annotations ->> '$."workers/tag"' AS tag
    FROM versions v JOIN scripts s ON s.id = v.script_id WHERE v.id = ?`,
  )
    .bind(versionId)
    .first<{
      account_id: string;
      name: string;
      created_at: string;
      main_module: string;
      modules: string;
      bindings: string;
      compatibility_date: string;
      compatibility_flags: string;
      tag: string | null;
    }>();
  if (!row) return undefined;
  const bindings = JSON.parse(row.bindings) as StoredBinding[];
  const [modules, secrets, shards] = await Promise.all([
    loadModules(env, JSON.parse(row.modules) as StoredModule[]),
    openSecrets(env, versionId),
    findShards(env.CATALOG, databaseIds(bindings)),
  ]);
  return {
    accountId: row.account_id,
    scriptName: row.name,
    versionId,
    versionTag: row.tag ?? "",
    createdAt: row.created_at,
    compatibilityDate: row.compatibility_date,
    compatibilityFlags: JSON.parse(row.compatibility_flags) as string[],
    mainModule: row.main_module,
    modules,
    bindings: bindings.map((binding) => withSecret(binding, secrets)),
    shards,
  };
}

/** The binding as an isolate needs it. */
export function withSecret(binding: StoredBinding, secrets: Map<string, string>): SourceBinding {
  if (binding.type !== "secret_text") return binding;
  const text = secrets.get(binding.name);
  if (text === undefined) throw new Error(`Secret ${binding.name} is not in the catalog`);
  return { ...binding, text };
}

/** The binding as it is kept and shown. */
export function withoutSecret(binding: SourceBinding): StoredBinding {
  if (binding.type === "secret_text") return { type: "secret_text", name: binding.name };
  return binding as StoredBinding;
}
