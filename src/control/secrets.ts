import { Hono, type Context } from "hono";
import * as z from "zod";
import { currentDeployment } from "../catalog/deployments.ts";
import type { SourceBinding } from "../catalog/source.ts";
import { latestVersion, type Version } from "../catalog/versions.ts";
import type { ControlEnv } from "./app.ts";
import { readJson } from "./body.ts";
import { createVersion } from "./create-version.ts";
import { draftOfVersion } from "./draft.ts";
import { success } from "./envelope.ts";
import { ApiError } from "./error.ts";
import { scriptOf, unknownScript } from "./script.ts";
import { bindingName, variableText } from "./upload-bindings.ts";
import { annotations } from "./upload-metadata.ts";
import { toVersionResult } from "./versions.ts";

/** A script's secrets. A version is immutable, so each change of them makes a new one. */
export const secrets = new Hono<ControlEnv>();

/** Secrets that one bulk request may change, as Cloudflare's. */
const MAX_BULK_SECRETS = 100;

const type = z.literal("secret_text");
const secret = z.strictObject({ name: bindingName, text: variableText, type });
const bulk = z.strictObject({
  secrets: z
    .record(bindingName, secret.partial({ name: true, type: true }).nullable())
    .refine(
      (secrets) => Object.keys(secrets).length <= MAX_BULK_SECRETS,
      `must be at most ${MAX_BULK_SECRETS} secrets`,
    ),
});
const nextVersion = z.strictObject({
  env: z.record(bindingName, z.strictObject({ type, text: variableText }).nullable()),
  annotations: annotations.default({}),
});

/** New texts by name; null removes the secret. */
type Changes = Map<string, string | null>;

secrets.get("/workers/scripts/:script_name/secrets", async (c) => {
  const script = await scriptOf(c);
  const version = await latestVersion(c.env.CATALOG, script.id);
  return success(version?.bindings.filter(({ type }) => type === "secret_text") ?? []);
});

secrets.put("/workers/scripts/:script_name/secrets", async (c) => {
  await scriptOf(c);
  const { name, text, type } = await readJson(c, secret, 10021);
  await changeDeployed(c, new Map([[name, text]]));
  return success({ name, type });
});

secrets.delete("/workers/scripts/:script_name/secrets/:name", async (c) => {
  const script = await scriptOf(c);
  const name = c.req.param("name");
  const version = await latestVersion(c.env.CATALOG, script.id);
  if (!version?.bindings.some((binding) => isSecret(binding, name))) {
    throw new ApiError(404, 10056, `name: there is no secret "${name}"`);
  }
  await changeDeployed(c, new Map([[name, null]]));
  return success(null);
});

secrets.patch("/workers/scripts/:script_name/secrets-bulk", async (c) => {
  await scriptOf(c);
  const given = Object.entries((await readJson(c, bulk, 10021)).secrets);
  await changeDeployed(c, new Map(given.map(([name, secret]) => [name, secret?.text ?? null])));
  return success(
    given.flatMap(([name, secret]) => (secret ? [{ name, type: "secret_text" }] : [])),
  );
});

// `wrangler versions secret`: a new version that nobody is sent to yet.
secrets.patch("/workers/workers/:script_name/versions/latest", async (c) => {
  const script = await scriptOf(c);
  const { env, annotations } = await readJson(c, nextVersion, 10021);
  const changes = new Map(
    Object.entries(env).map(([name, secret]) => [name, secret?.text ?? null]),
  );
  const version = await createVersion(c, script.name, { deploy: false }, (latest) => {
    if (!latest) throw new ApiError(404, 10222, `The script "${script.name}" has no versions`);
    return draftOfVersion(c, latest, (bindings) => apply(changes, bindings), annotations);
  });
  return success(toVersionResult(version, script));
});

/** Makes a version with the changes and deploys it, which must not deploy anything else. */
async function changeDeployed(c: Context<ControlEnv>, changes: Changes): Promise<void> {
  const { name } = await scriptOf(c);
  await createVersion(c, name, { deploy: true }, async (latest) => {
    if (!latest) throw unknownScript(name);
    await checkDeployed(c, latest);
    return draftOfVersion(c, latest, (bindings) => apply(changes, bindings), {});
  });
}

async function checkDeployed(c: Context<ControlEnv>, latest: Version): Promise<void> {
  const deployment = await currentDeployment(c.env.CATALOG, latest.scriptId);
  const all = deployment?.versions.some(
    ({ version_id, percentage }) => version_id === latest.id && percentage === 100,
  );
  if (all) return;
  throw new ApiError(
    400,
    10215,
    "The latest version of this Worker is not deployed to all traffic, so a change of its secrets cannot be. Deploy it first, or use versions secret",
  );
}

function apply(changes: Changes, bindings: SourceBinding[]): SourceBinding[] {
  const result = bindings.filter(
    ({ name, type }) => !(type === "secret_text" && changes.has(name)),
  );
  for (const [name, text] of changes) {
    if (text === null) continue;
    if (result.some((binding) => binding.name === name)) {
      throw new ApiError(
        400,
        10053,
        `Binding name '${name}' already in use by a binding that is not a secret`,
      );
    }
    result.push({ type: "secret_text", name, text });
  }
  return result;
}

const isSecret = (binding: { name: string; type: string }, name: string): boolean =>
  binding.type === "secret_text" && binding.name === name;
