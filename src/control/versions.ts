import { Hono, type Context } from "hono";
import type { Script } from "../catalog/scripts.ts";
import { countVersions, findVersions, listVersions, type Version } from "../catalog/versions.ts";
import type { ControlEnv } from "./app.ts";
import { createVersion } from "./create-version.ts";
import { draftOfUpload } from "./draft.ts";
import { pageOf, success } from "./envelope.ts";
import { ApiError } from "./error.ts";
import { scriptOf, unknownScript } from "./script.ts";
import { parseUpload } from "./upload.ts";

/** A script's versions: https://developers.cloudflare.com/api/resources/workers/subresources/scripts/subresources/versions/ */
export const versions = new Hono<ControlEnv>();

/** Versions that a listing shows unless asked for another number, as Cloudflare's. */
const VERSIONS_PER_PAGE = 10;

versions.post("/workers/scripts/:script_name/versions", async (c) => {
  const { name } = await scriptOf(c);
  const upload = await parseUpload(c);
  const options = { uploadHash: upload.hash, deploy: false };
  let script: Script | undefined;
  const version = await createVersion(c, name, options, (latest, current) => {
    if (!current) throw unknownScript(name);
    script = current;
    return draftOfUpload(c, upload, name, latest);
  });
  return success(toVersionResult(version, script ?? (await scriptOf(c))));
});

versions.get("/workers/scripts/:script_name/versions", async (c) => {
  const script = await scriptOf(c);
  const { page, perPage } = pageOf((key) => c.req.query(key), VERSIONS_PER_PAGE);
  const db = c.env.CATALOG;
  const [items, total] = await Promise.all([
    listVersions(db, script.id, perPage, (page - 1) * perPage),
    countVersions(db, script.id),
  ]);
  return success(
    { items: items.map((version) => toVersionResult(version, script)) },
    { page, per_page: perPage, count: items.length, total_count: total },
  );
});

versions.get("/workers/scripts/:script_name/versions/:version_id", async (c) => {
  const script = await scriptOf(c);
  return success(toVersionResult(await versionOf(c, script), script));
});

/** The script's version of the path. */
async function versionOf(c: Context<ControlEnv>, script: Script): Promise<Version> {
  const id = c.req.param("version_id") ?? "";
  const [version] = await findVersions(c.env.CATALOG, script.id, [id]);
  if (!version) throw unknownVersion("version_id", id, script.name);
  return version;
}

export const unknownVersion = (field: string, id: string, scriptName: string): ApiError =>
  new ApiError(404, 100146, `${field}: the script "${scriptName}" has no version "${id}"`);

/** A version as the API shows it: all that any wrangler command reads. */
export function toVersionResult(version: Version, script: Script): Record<string, unknown> {
  return {
    id: version.id,
    number: version.number,
    metadata: {
      created_on: version.createdAt,
      modified_on: version.createdAt,
      source: version.source,
      author_id: version.author,
      author_email: version.author,
      has_preview: script.previews,
    },
    annotations: version.annotations,
    resources: {
      script: {
        etag: version.uploadHash,
        handlers: version.handlers,
        last_deployed_from: version.source,
      },
      script_runtime: {
        compatibility_date: version.compatibilityDate,
        compatibility_flags: version.compatibilityFlags,
        usage_model: "standard",
        limits: version.metadata["limits"] ?? {},
      },
      bindings: version.bindings,
    },
    startup_time_ms: version.startupTimeMs,
    mayfly: { isolation: version.isolation, wall_time_ms: version.wallTimeMs },
  };
}
