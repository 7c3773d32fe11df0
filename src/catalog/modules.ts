import type { Env } from "../env.ts";
import type { SourceModule } from "./source.ts";
import type { StoredModule } from "./versions.ts";

const codeKey = (hash: string): string => `code/${hash}`;

/** Puts the code into the bucket, whatever of it is not there yet. */
export async function storeModules(
  env: Env,
  modules: (StoredModule & SourceModule)[],
): Promise<void> {
  const { CATALOG: db, BUCKET } = env;
  const byHash = new Map(modules.map((module) => [module.hash, module]));
  const { results } = await db
    .prepare("SELECT hash FROM modules WHERE hash IN (SELECT value FROM json_each(?))")
    .bind(JSON.stringify([...byHash.keys()]))
    .all<{ hash: string }>();
  for (const { hash } of results) byHash.delete(hash);
  if (byHash.size === 0) return;

  const missing = [...byHash.values()];
  await Promise.all(missing.map(({ hash, content }) => BUCKET.put(codeKey(hash), content)));
  // Listed only once they are there, so that what is listed can be relied on.
  await db
    .prepare(
      `INSERT INTO modules (hash, size, created_at)
      SELECT value ->> 'hash', value ->> 'size', ? FROM json_each(?) WHERE true
      ON CONFLICT DO NOTHING`,
    )
    .bind(
      new Date().toISOString(),
      JSON.stringify(missing.map(({ hash, size }) => ({ hash, size }))),
    )
    .run();
}

/** The modules with their code. */
export function loadModules(env: Env, modules: StoredModule[]): Promise<SourceModule[]> {
  return Promise.all(
    modules.map(async ({ name, type, hash }) => {
      const object = await env.BUCKET.get(codeKey(hash));
      if (!object) throw new Error(`The code of module ${name}, ${hash}, is not in the bucket`);
      const binary = type === "wasm" || type === "data";
      return { name, type, content: await (binary ? object.arrayBuffer() : object.text()) };
    }),
  );
}
