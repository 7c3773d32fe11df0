import type { Context } from "hono";
import { findBucket } from "../catalog/buckets.ts";
import { findDatabase } from "../catalog/databases.ts";
import { withSecret } from "../catalog/load-source.ts";
import { findNamespace } from "../catalog/namespaces.ts";
import { findQueue } from "../catalog/queues.ts";
import { getScript } from "../catalog/scripts.ts";
import { openSecrets } from "../catalog/secrets.ts";
import type { SourceBinding } from "../catalog/source.ts";
import type { Version } from "../catalog/versions.ts";
import type { ControlEnv } from "./app.ts";
import { ApiError } from "./error.ts";
import { QUEUE_CODES } from "./queue.ts";
import { accountOf } from "./script.ts";
import type { UploadMetadata } from "./upload-metadata.ts";

/**
 * The bindings of the version to be: those given, `inherit` ones from the latest version, and those
 * that the upload says to keep. All that they point to exists in the account.
 */
export async function resolveBindings(
  c: Context<ControlEnv>,
  metadata: UploadMetadata,
  scriptName: string,
  latest: Version | undefined,
): Promise<SourceBinding[]> {
  const previous = await previousBindings(c, latest);
  const resolved = metadata.bindings.map((binding): SourceBinding => {
    if (binding.type === "service") {
      const { environment: _, ...service } = binding;
      return service;
    }
    if (binding.type !== "inherit") return binding;
    const inherited = previous.get(binding.name);
    if (inherited) return inherited;
    // wrangler looks for the beginning of this message.
    throw new ApiError(
      400,
      10057,
      `inherit binding '${binding.name}' is invalid: the latest version has no binding of this name`,
    );
  });
  const names = new Set(resolved.map(({ name }) => name));
  const keep = new Set<string>(metadata.keep_bindings);
  for (const [name, binding] of previous) {
    if (keep.has(binding.type) && !names.has(name)) resolved.push(binding);
  }
  await Promise.all(resolved.map((binding) => checkTarget(c, binding, scriptName)));
  return resolved;
}

async function previousBindings(
  c: Context<ControlEnv>,
  latest: Version | undefined,
): Promise<Map<string, SourceBinding>> {
  if (!latest) return new Map();
  const secrets = await openSecrets(c.env, latest.id);
  return new Map(latest.bindings.map((binding) => [binding.name, withSecret(binding, secrets)]));
}

/** Throws Cloudflare's code if what the binding points to is not in the account. */
async function checkTarget(
  c: Context<ControlEnv>,
  binding: SourceBinding,
  scriptName: string,
): Promise<void> {
  const db = c.env.CATALOG;
  const account = accountOf(c);
  const { name } = binding;
  switch (binding.type) {
    case "kv_namespace": {
      const id = binding.namespace_id;
      if (await findNamespace(db, account, id)) return;
      throw new ApiError(
        400,
        10041,
        `binding ${name}: KV namespace '${id}' not found, its namespace_id must be one of this account's`,
      );
    }
    case "r2_bucket": {
      const bucket = binding.bucket_name;
      if (await findBucket(db, account, bucket)) return;
      throw new ApiError(
        400,
        10085,
        `binding ${name}: R2 bucket '${bucket}' not found, its bucket_name must be one of this account's`,
      );
    }
    case "d1": {
      // The id may not be a name, which `findDatabase` takes as well.
      const database = await findDatabase(db, account, binding.id);
      if (database?.id === binding.id) return;
      // wrangler knows this message and adds how to list databases.
      throw new ApiError(
        400,
        10021,
        `binding ${name} of type d1 must have a valid \`id\` specified`,
      );
    }
    case "queue": {
      const queue = binding.queue_name;
      if (await findQueue(db, account, queue)) return;
      throw new ApiError(
        400,
        QUEUE_CODES.noQueue,
        `binding ${name}: Queue '${queue}' not found, its queue_name must be one of this account's`,
      );
    }
    case "service": {
      const { service } = binding;
      if (service === scriptName || (await getScript(db, account, service))) return;
      throw new ApiError(
        400,
        10143,
        `Could not resolve service binding '${name}': there is no script '${service}' in this account. Deploy it first`,
      );
    }
  }
}
