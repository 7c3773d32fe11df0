import type { Env } from "../env.ts";

/** Whether keys of the platform's namespace or of its bucket begin with the prefix. */
type Store = "kv" | "r2";

/** Writes that began before their owner was deleted may still end within this time. */
const LATE_WRITES_MS = 10 * 60_000;

/** Keys that are deleted at once where each takes a call of its own. */
const PARALLEL_DELETES = 20;

/** A statement that notes all data under `prefix` as garbage, for the batch that deletes the owner. */
export function discard(db: D1Database, store: Store, prefix: string): D1PreparedStatement {
  return db
    .prepare("INSERT INTO garbage (store, prefix, created_at) VALUES (?, ?, ?)")
    .bind(store, prefix, new Date().toISOString());
}

/**
 * Removes the data of owners that are gone. May end at any time; the next run goes on. What is noted
 * stays noted for as long as writes could still arrive.
 */
export async function removeGarbage(env: Env): Promise<void> {
  // Begun at once, it would hold back the answer to the request that it is done for.
  await scheduler.wait(0);
  const { results } = await env.CATALOG.prepare(
    "SELECT store, prefix, created_at FROM garbage ORDER BY created_at",
  ).all<{ store: Store; prefix: string; created_at: string }>();
  for (const { store, prefix, created_at } of results) {
    await (store === "kv" ? emptyKv(env.KV, prefix) : emptyR2(env.BUCKET, prefix));
    if (Date.parse(created_at) > Date.now() - LATE_WRITES_MS) continue;
    await env.CATALOG.prepare("DELETE FROM garbage WHERE store = ? AND prefix = ?")
      .bind(store, prefix)
      .run();
  }
}

async function emptyKv(kv: KVNamespace, prefix: string): Promise<void> {
  for (let cursor: string | undefined, more = true; more;) {
    const page = await kv.list({ prefix, ...(cursor !== undefined && { cursor }) });
    for (let at = 0; at < page.keys.length; at += PARALLEL_DELETES) {
      const keys = page.keys.slice(at, at + PARALLEL_DELETES);
      await Promise.all(keys.map(({ name }) => kv.delete(name)));
    }
    more = !page.list_complete;
    if (!page.list_complete) ({ cursor } = page);
  }
}

async function emptyR2(bucket: R2Bucket, prefix: string): Promise<void> {
  for (;;) {
    const { objects } = await bucket.list({ prefix });
    if (objects.length === 0) return;
    await bucket.delete(objects.map(({ key }) => key));
  }
}
