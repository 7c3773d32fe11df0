import type { Context } from "hono";
import { loadSource } from "../catalog/load-source.ts";
import type { SourceBinding } from "../catalog/source.ts";
import type { Version } from "../catalog/versions.ts";
import type { ControlEnv } from "./app.ts";
import type { VersionDraft } from "./create-version.ts";
import { checkDatabaseChanges } from "./declared-database-changes.ts";
import { invalid } from "./error.ts";
import { resolveBindings } from "./resolve-bindings.ts";
import type { Upload } from "./upload.ts";
import { MAX_CPU_MS, MIN_CPU_MS } from "./upload-limits.ts";

/** The version that an upload asks for, as the successor of `latest`. */
export async function draftOfUpload(
  c: Context<ControlEnv>,
  { metadata, modules }: Upload,
  scriptName: string,
  latest: Version | undefined,
): Promise<VersionDraft> {
  const {
    main_module,
    compatibility_date,
    compatibility_flags,
    annotations,
    bindings: _bindings,
    keep_bindings: _keep,
    tags: _tags,
    logpush: _logpush,
    observability: _observability,
    tail_consumers: _tailConsumers,
    ...rest
  } = metadata;
  checkCpuLimit(c, metadata.limits?.cpu_ms);
  const bindings = await resolveBindings(c, metadata, scriptName, latest);
  await checkDatabaseChanges(c, metadata.mayfly?.database_changes, bindings);
  return {
    mainModule: main_module,
    modules,
    bindings,
    compatibilityDate: compatibility_date,
    compatibilityFlags: compatibility_flags,
    annotations: { ...annotations, "workers/triggered_by": "upload" },
    metadata: rest,
  };
}

function checkCpuLimit(c: Context<ControlEnv>, cpuMs: number | undefined): void {
  const max = Number(c.env.MAYFLY_MAX_CPU_MS ?? MAX_CPU_MS);
  if (cpuMs === undefined || cpuMs <= max) return;
  throw invalid(
    10021,
    "limits.cpu_ms",
    cpuMs,
    `from ${MIN_CPU_MS} to ${max}, the platform's maximum`,
  );
}

/** The same version again with other bindings, as a change of secrets makes it. */
export async function draftOfVersion(
  c: Context<ControlEnv>,
  version: Version,
  changeBindings: (bindings: SourceBinding[]) => SourceBinding[],
  annotations: Record<string, string>,
): Promise<VersionDraft> {
  const source = await loadSource(c.env, version.id);
  if (!source) throw new Error(`Version ${version.id} is not in the catalog`);
  const { modules, mainModule, compatibilityDate, compatibilityFlags } = source;
  return {
    mainModule,
    modules: version.modules.flatMap((stored, index) => {
      const module = modules[index];
      return module ? [{ ...stored, content: module.content }] : [];
    }),
    bindings: changeBindings(source.bindings),
    compatibilityDate,
    compatibilityFlags,
    annotations: { ...annotations, "workers/triggered_by": "secret" },
    metadata: version.metadata,
  };
}
