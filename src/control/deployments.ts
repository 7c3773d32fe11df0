import { Hono, type Context } from "hono";
import * as z from "zod";
import { declareSubscriptions } from "../catalog/database-subscriptions.ts";
import {
  currentDeployment,
  insertDeployment,
  listDeployments,
  type Deployment,
} from "../catalog/deployments.ts";
import type { Script } from "../catalog/scripts.ts";
import { openSecrets } from "../catalog/secrets.ts";
import { findVersions, type Version } from "../catalog/versions.ts";
import { refreshSchedules } from "../triggers/cron/scheduler.ts";
import { updateFeeds } from "../triggers/database/update-feeds.ts";
import type { ControlEnv } from "./app.ts";
import { readJson } from "./body.ts";
import { success } from "./envelope.ts";
import { ApiError, invalid } from "./error.ts";
import { invalidate } from "./invalidate.ts";
import { originOf } from "./origin.ts";
import { accountOf, scriptOf, unknownScript } from "./script.ts";
import { annotations } from "./upload-metadata.ts";
import { unknownVersion } from "./versions.ts";

/** A script's deployments: https://developers.cloudflare.com/api/resources/workers/subresources/scripts/subresources/deployments/ */
export const deployments = new Hono<ControlEnv>();

/** How many a listing shows, newest first, as Cloudflare's. */
const LISTED_DEPLOYMENTS = 10;
/** Versions that may share the traffic. */
const MAX_DEPLOYED_VERSIONS = 2;

const newDeployment = z.strictObject({
  strategy: z.literal("percentage").default("percentage"),
  versions: z
    .array(z.strictObject({ version_id: z.string(), percentage: z.number().min(0).max(100) }))
    .min(1)
    .max(MAX_DEPLOYED_VERSIONS),
  annotations: annotations.default({}),
  // When running Durable Objects get the new code; there are none.
  code_update_strategy: z.record(z.string(), z.unknown()).exactOptional(),
});

deployments.get("/workers/scripts/:script_name/deployments", async (c) => {
  const script = await scriptOf(c);
  const found = await listDeployments(c.env.CATALOG, script.id, LISTED_DEPLOYMENTS);
  return success({ deployments: found.map(toDeploymentResult) });
});

deployments.post("/workers/scripts/:script_name/deployments", async (c) => {
  const script = await scriptOf(c);
  const { versions, annotations } = await readJson(c, newDeployment, 10021);
  const sum = versions.reduce((sum, { percentage }) => sum + percentage, 0);
  // Percentages have two decimals at most, and sums of such are not exact.
  if (Math.abs(sum - 100) > 0.001) {
    throw invalid(10021, "versions.percentage", sum, "100 when added up");
  }
  const ids = versions.map(({ version_id }) => version_id);
  if (new Set(ids).size < ids.length) {
    throw invalid(10021, "versions.version_id", ids[0], "given once");
  }
  const db = c.env.CATALOG;
  const found = await findVersions(db, script.id, ids);
  for (const [index, id] of ids.entries()) {
    if (found.some((version) => version.id === id)) continue;
    throw unknownVersion(`versions.${index}.version_id`, id, script.name);
  }

  const replaced = await deployedVersions(c, script);
  const isRollback = goesBack(found, replaced);
  if (isRollback && c.req.query("force") !== "true") await checkSecrets(c, found, replaced);
  const deployment = {
    id: crypto.randomUUID(),
    createdAt: new Date().toISOString(),
    ...originOf(c),
    annotations: {
      ...annotations,
      "workers/triggered_by": isRollback ? "rollback" : "promotion",
    },
    versions,
  };
  const [inserted] = await db.batch([
    insertDeployment(db, deployment),
    ...declareSubscriptions(db, versions[0]?.version_id ?? ""),
  ]);
  if (inserted?.meta.changes === 0) throw unknownScript(script.name);
  await invalidate(c);
  await refreshSchedules(c.env, script.id);
  await updateFeeds(c.env, c.executionCtx as ExecutionContext, accountOf(c));
  return success(toDeploymentResult({ ...deployment, scriptId: script.id }));
});

async function deployedVersions(c: Context<ControlEnv>, script: Script): Promise<Version[]> {
  const deployment = await currentDeployment(c.env.CATALOG, script.id);
  const ids = deployment?.versions.map(({ version_id }) => version_id) ?? [];
  return findVersions(c.env.CATALOG, script.id, ids);
}

/** Whether all versions are older than those they replace. What is deployed already can stay. */
function goesBack(versions: Version[], replaced: Version[]): boolean {
  const oldest = Math.min(...replaced.map(({ number }) => number));
  return replaced.length > 0 && versions.every(({ number }) => number < oldest);
}

/** Throws 10220 if secrets are not what they were: wrangler then asks and comes back with force. */
async function checkSecrets(
  c: Context<ControlEnv>,
  versions: Version[],
  replaced: Version[],
): Promise<void> {
  const newest = replaced.reduce((a, b) => (a.number > b.number ? a : b));
  const current = await openSecrets(c.env, newest.id);
  const changed = new Set<string>();
  for (const { id } of versions) {
    const secrets = await openSecrets(c.env, id);
    for (const name of [...current.keys(), ...secrets.keys()]) {
      if (current.get(name) !== secrets.get(name)) changed.add(name);
    }
  }
  if (changed.size === 0) return;
  throw new ApiError(
    400,
    10220,
    `Secrets differ from those of the deployed version. The following secrets have changed: ${[...changed].sort().join(", ")}`,
  );
}

const toDeploymentResult = (deployment: Deployment): Record<string, unknown> => ({
  id: deployment.id,
  created_on: deployment.createdAt,
  source: deployment.source,
  strategy: "percentage",
  author_email: deployment.author,
  annotations: deployment.annotations,
  versions: deployment.versions,
});
