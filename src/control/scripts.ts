import { Hono, type Context } from "hono";
import * as z from "zod";
import { findAccount } from "../catalog/accounts.ts";
import { previewSuffix, scriptUrl } from "../catalog/address.ts";
import { currentDeployment } from "../catalog/deployments.ts";
import { loadSource } from "../catalog/load-source.ts";
import { parseScriptName } from "../catalog/script-name.ts";
import { listScripts, updateSettings, type Script } from "../catalog/scripts.ts";
import type { ModuleType } from "../catalog/source.ts";
import { latestVersion, type Version } from "../catalog/versions.ts";
import type { ControlEnv } from "./app.ts";
import { readJson } from "./body.ts";
import { createVersion } from "./create-version.ts";
import { draftOfUpload } from "./draft.ts";
import { success } from "./envelope.ts";
import { invalidate } from "./invalidate.ts";
import { accountOf, scriptOf, unknownScript } from "./script.ts";
import { checkTailConsumers } from "./tail-consumers.ts";
import { parseUpload } from "./upload.ts";
import { scriptSettings } from "./upload-metadata.ts";

/** Scripts: https://developers.cloudflare.com/api/resources/workers/subresources/scripts/ */
export const scripts = new Hono<ControlEnv>();

const settingsChange = z.strictObject(scriptSettings);

scripts.get("/workers/scripts", async (c) => {
  const found = await listScripts(c.env.CATALOG, accountOf(c));
  return success(found.map((script) => toScriptResult(script)));
});

scripts.put("/workers/scripts/:script_name", async (c) => {
  const name = parseScriptName(c.req.param("script_name"));
  const upload = await parseUpload(c);
  await checkTailConsumers(c, name, upload.metadata.tail_consumers);
  const version = await createVersion(
    c,
    name,
    { uploadHash: upload.hash, deploy: true },
    (latest) => draftOfUpload(c, upload, name, latest),
  );
  const script = await scriptOf(c);
  const settings = await updateSettings(c.env.CATALOG, script, settingsOf(upload.metadata));
  await invalidate(c);
  return success({
    ...toScriptResult({ ...script, settings }, version),
    startup_time_ms: version.startupTimeMs,
    // wrangler shows it as the version's id.
    deployment_id: version.id,
  });
});

// As Cloudflare, with the code of the deployed version as the parts of a form.
scripts.get("/workers/scripts/:script_name", async (c) => codeForm(c));
scripts.get("/workers/scripts/:script_name/content/v2", async (c) => codeForm(c));

scripts.get("/workers/scripts/:script_name/settings", async (c) => {
  const script = await scriptOf(c);
  const version = await latestVersion(c.env.CATALOG, script.id);
  if (!version) throw unknownScript(script.name);
  return success({
    bindings: version.bindings,
    compatibility_date: version.compatibilityDate,
    compatibility_flags: version.compatibilityFlags,
    usage_model: "standard",
    ...version.metadata,
    ...toSettingsResult(script),
  });
});

scripts.get("/workers/scripts/:script_name/script-settings", async (c) =>
  success(toSettingsResult(await scriptOf(c))),
);

scripts.patch("/workers/scripts/:script_name/script-settings", async (c) => {
  const script = await scriptOf(c);
  const changes = await readJson(c, settingsChange, 10021);
  await checkTailConsumers(c, script.name, changes.tail_consumers);
  const settings = await updateSettings(c.env.CATALOG, script, changes);
  await invalidate(c);
  return success(toSettingsResult({ ...script, settings }));
});

// The older view of a script, with one environment.
scripts.get("/workers/services/:script_name", async (c) => {
  const script = await scriptOf(c, 10090);
  const version = await latestVersion(c.env.CATALOG, script.id);
  const environment = {
    environment: "production",
    created_on: script.createdAt,
    modified_on: script.modifiedAt,
    script: { ...toScriptResult(script, version), last_deployed_from: version?.source },
  };
  return success({
    id: script.name,
    created_on: script.createdAt,
    modified_on: script.modifiedAt,
    default_environment: environment,
    environments: [environment],
  });
});

// The newer view, with its addresses.
scripts.get("/workers/workers/:script_name", async (c) => {
  const script = await scriptOf(c);
  const account = await findAccount(c.env.CATALOG, script.accountId);
  const subdomain = account?.subdomain ?? "";
  return success({
    id: script.id,
    name: script.name,
    created_on: script.createdAt,
    updated_on: script.modifiedAt,
    ...toSettingsResult(script),
    subdomain: {
      enabled: script.workersDev,
      previews_enabled: script.previews,
      url: scriptUrl(c.env, script.name, subdomain),
      preview_url_suffix: previewSuffix(c.env, script.name, subdomain),
    },
  });
});

/** The settings among the members, without those that were not given. */
function settingsOf(members: Script["settings"]): Script["settings"] {
  const { tags, logpush, observability, tail_consumers } = members;
  return {
    ...(tags && { tags }),
    ...(logpush !== undefined && { logpush }),
    ...(observability && { observability }),
    ...(tail_consumers && { tail_consumers }),
  };
}

const toSettingsResult = ({ settings }: Script): Record<string, unknown> => ({
  tags: settings.tags ?? [],
  logpush: settings.logpush ?? false,
  observability: settings.observability ?? { enabled: false },
  tail_consumers: settings.tail_consumers ?? [],
});

function toScriptResult(script: Script, version?: Version): Record<string, unknown> {
  return {
    id: script.name,
    tag: script.id,
    created_on: script.createdAt,
    modified_on: script.modifiedAt,
    usage_model: "standard",
    has_modules: true,
    has_assets: false,
    ...toSettingsResult(script),
    ...(version && { etag: version.uploadHash, handlers: version.handlers }),
  };
}

const CONTENT_TYPES: Record<ModuleType, string> = {
  js: "application/javascript+module",
  cjs: "application/javascript",
  text: "text/plain",
  data: "application/octet-stream",
  json: "application/json",
  wasm: "application/wasm",
};

async function codeForm(c: Context<ControlEnv>): Promise<Response> {
  const script = await scriptOf(c);
  const deployment = await currentDeployment(c.env.CATALOG, script.id);
  const source = await loadSource(c.env, deployment?.versions[0]?.version_id ?? "");
  if (!source) throw unknownScript(script.name);
  const form = new FormData();
  for (const { name, type, content } of source.modules) {
    form.append(name, new File([content], name, { type: CONTENT_TYPES[type] }));
  }
  const response = new Response(form);
  response.headers.set("cf-entrypoint", source.mainModule);
  return response;
}
