import type { Context } from "hono";
import { findShards } from "../catalog/databases.ts";
import { declareSubscriptions } from "../catalog/database-subscriptions.ts";
import { currentDeployment, insertDeployment } from "../catalog/deployments.ts";
import { rememberSource, withoutSecret } from "../catalog/load-source.ts";
import { storeModules } from "../catalog/modules.ts";
import type { Isolation } from "../catalog/routing.ts";
import { getScript, insertScript, type Script } from "../catalog/scripts.ts";
import { insertSecrets } from "../catalog/secrets.ts";
import { databaseIds, type IsolateSource, type SourceBinding } from "../catalog/source.ts";
import { insertVersion, latestVersion, type Version } from "../catalog/versions.ts";
import { refreshSchedules } from "../triggers/cron/scheduler.ts";
import { updateFeeds } from "../triggers/database/update-feeds.ts";
import type { ControlEnv } from "./app.ts";
import { ApiError } from "./error.ts";
import { invalidate } from "./invalidate.ts";
import { originOf } from "./origin.ts";
import { accountOf } from "./script.ts";
import { refuseIfConsumer } from "./queue-consumers.ts";
import { startOnce } from "./start-version.ts";
import { MAX_VARIABLES } from "./upload-limits.ts";
import type { Limits, MayflySettings } from "./upload-metadata.ts";
import type { UploadedModule } from "./upload-modules.ts";

/** What a version is to be made of. */
export interface VersionDraft {
  mainModule: string;
  modules: UploadedModule[];
  bindings: SourceBinding[];
  compatibilityDate: string;
  compatibilityFlags: string[];
  annotations: Record<string, string>;
  /** The rest of the upload; its members `mayfly` and `limits` decide how the version is run. */
  metadata: Record<string, unknown> & { mayfly?: MayflySettings; limits?: Limits | undefined };
}

export interface CreateOptions {
  /** Undefined if the same content twice is never a repetition. */
  uploadHash?: string;
  /** Whether all traffic goes to the version at once. */
  deploy: boolean;
}

/** A retry of an upload, which wrangler does within seconds, gets the version made the first time. */
const REPETITION_MS = 60_000;
/** Beyond this, starting an isolate for each request would be felt. */
const MAX_REQUEST_ISOLATION_STARTUP_MS = 10;
const DEFAULT_WALL_TIME_MS = 30_000;
// Others may make versions of the same script meanwhile; each time one of them succeeds.
const MAX_TRIES = 10;

/**
 * Makes a version of the script, and the script if there is none; `draft` is given the version that
 * is the latest then. Nothing is saved unless the version starts. If other versions are made at the
 * same time, each is made from the one before it.
 */
export async function createVersion(
  c: Context<ControlEnv>,
  scriptName: string,
  options: CreateOptions,
  draft: (latest: Version | undefined, script: Script | undefined) => Promise<VersionDraft>,
): Promise<Version> {
  const db = c.env.CATALOG;
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const script = await getScript(db, accountOf(c), scriptName);
    const latest = script && (await latestVersion(db, script.id));
    if (latest && (await isRepetition(c, latest, options))) return latest;
    const saved = await save(c, scriptName, options, await draft(latest, script), latest);
    if (!saved) continue;
    if (options.deploy) {
      await invalidate(c);
      await refreshSchedules(c.env, saved.scriptId);
      await updateFeeds(c.env, c.executionCtx as ExecutionContext, accountOf(c));
    }
    return saved;
  }
  throw new ApiError(
    409,
    10013,
    `Other versions of "${scriptName}" are made all the time; try again`,
  );
}

async function isRepetition(
  c: Context<ControlEnv>,
  latest: Version,
  { uploadHash, deploy }: CreateOptions,
): Promise<boolean> {
  if (latest.uploadHash !== uploadHash) return false;
  if (Date.now() - Date.parse(latest.createdAt) > REPETITION_MS) return false;
  const deployment = await currentDeployment(c.env.CATALOG, latest.scriptId);
  const deployed = deployment?.versions.some(({ version_id }) => version_id === latest.id) ?? false;
  return deployed === deploy;
}

/** The new version, or undefined if `latest` is no longer the latest. */
async function save(
  c: Context<ControlEnv>,
  scriptName: string,
  { uploadHash, deploy }: CreateOptions,
  draft: VersionDraft,
  latest: Version | undefined,
): Promise<Version | undefined> {
  const { CATALOG: db } = c.env;
  const accountId = accountOf(c);
  const id = crypto.randomUUID();
  const createdAt = new Date().toISOString();
  const origin = originOf(c);
  const { mainModule, modules, bindings, compatibilityDate, compatibilityFlags } = draft;
  checkVariableCount(bindings);
  const source: IsolateSource = {
    accountId,
    scriptName,
    versionId: id,
    versionTag: draft.annotations["workers/tag"] ?? "",
    createdAt,
    compatibilityDate,
    compatibilityFlags,
    mainModule,
    modules: modules.map(({ name, type, content }) => ({ name, type, content })),
    bindings,
    shards: await findShards(db, databaseIds(bindings)),
  };
  const { startupTimeMs, handlers } = await startOnce(c, source);
  if (latest && !handlers.includes("queue")) await refuseIfConsumer(c, latest.scriptId);
  await storeModules(c.env, modules);

  const { mayfly, limits } = draft.metadata;
  const version = {
    id,
    number: (latest?.number ?? 0) + 1,
    createdAt,
    ...origin,
    uploadHash: uploadHash ?? id,
    mainModule,
    modules: modules.map(({ name, type, hash, size }) => ({ name, type, hash, size })),
    bindings: bindings.map(withoutSecret),
    compatibilityDate,
    compatibilityFlags,
    annotations: draft.annotations,
    handlers,
    metadata: draft.metadata,
    startupTimeMs,
    isolation: mayfly?.isolation ?? defaultIsolation(c, startupTimeMs),
    wallTimeMs: mayfly?.wall_time_ms ?? DEFAULT_WALL_TIME_MS,
    cpuMs: limits?.cpu_ms,
    codeBytes: modules.reduce((sum, { size }) => sum + size, 0),
  };
  const secrets = bindings.flatMap((binding) =>
    binding.type === "secret_text" ? [{ name: binding.name, text: binding.text }] : [],
  );
  const insert = insertVersion(db, accountId, scriptName, version);
  const statements = [
    insert,
    await insertSecrets(c.env, id, secrets),
    db
      .prepare(
        "UPDATE scripts SET modified_at = ?1 WHERE id = (SELECT script_id FROM versions WHERE id = ?2)",
      )
      .bind(createdAt, id),
  ];
  if (deploy) {
    const versions = [{ version_id: id, percentage: 100 }];
    const { "workers/tag": _tag, "workers/alias": _alias, ...annotations } = draft.annotations;
    const deploymentId = crypto.randomUUID();
    statements.push(
      insertDeployment(db, { id: deploymentId, createdAt, ...origin, annotations, versions }),
      ...declareSubscriptions(db, id),
    );
  }
  // Only as long as the script is unknown, so that one deleted meanwhile does not come back empty.
  if (!latest) statements.unshift(insertScript(db, accountId, scriptName, createdAt));
  const results = await db.batch<{ script_id: string }>(statements);
  const scriptId = results[statements.indexOf(insert)]?.results[0]?.script_id;
  if (scriptId === undefined) return undefined;
  rememberSource(source);
  return { ...version, scriptId };
}

const VARIABLES = new Set(["plain_text", "secret_text", "json"]);

// Counted with those that are inherited or kept.
function checkVariableCount(bindings: SourceBinding[]): void {
  const count = bindings.filter(({ type }) => VARIABLES.has(type)).length;
  if (count <= MAX_VARIABLES) return;
  throw new ApiError(
    400,
    10021,
    `bindings: got ${count} variables and secrets, must be at most ${MAX_VARIABLES}`,
  );
}

// At the edge each isolate costs money; on an own machine a slow start costs the request time.
function defaultIsolation(c: Context<ControlEnv>, startupTimeMs: number): Isolation {
  const slow = startupTimeMs > MAX_REQUEST_ISOLATION_STARTUP_MS;
  return slow || c.env.MAYFLY_RUNTIME === "edge" ? "shared" : "request";
}
