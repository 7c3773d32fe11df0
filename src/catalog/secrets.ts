import type { Env } from "../env.ts";
import { open, seal } from "./crypto.ts";

// A secret can only be opened as the one it was sealed as.
const contextOf = (versionId: string, name: string): string => `${versionId}/${name}`;

/** The version's secrets in clear, by name. */
export async function openSecrets(env: Env, versionId: string): Promise<Map<string, string>> {
  const { results } = await env.CATALOG.prepare(
    "SELECT name, ciphertext FROM secrets WHERE version_id = ?",
  )
    .bind(versionId)
    .all<{ name: string; ciphertext: string }>();
  const entries = results.map(async ({ name, ciphertext }): Promise<[string, string]> => {
    return [name, await open(env.MAYFLY_SECRETS_KEY, contextOf(versionId, name), ciphertext)];
  });
  return new Map(await Promise.all(entries));
}

/** Inserts the secrets of a version, sealed, if the version exists by then. */
export async function insertSecrets(
  env: Env,
  versionId: string,
  secrets: { name: string; text: string }[],
): Promise<D1PreparedStatement> {
  const sealed = secrets.map(async ({ name, text }) => ({
    name,
    ciphertext: await seal(env.MAYFLY_SECRETS_KEY, contextOf(versionId, name), text),
  }));
  return env.CATALOG.prepare(
    `INSERT INTO secrets (version_id, name, ciphertext)
    SELECT v.id, secret.value ->> 'name', secret.value ->> 'ciphertext'
    FROM versions v JOIN json_each(?) secret WHERE v.id = ?`,
  ).bind(JSON.stringify(await Promise.all(sealed)), versionId);
}
