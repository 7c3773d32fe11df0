import type { User } from "./user.ts";

/**
 * Keeps users that were read, by id. A write removes its user, but at Cloudflare other places may
 * still see the old value, and a read under way may put it back: neither outlives this.
 */
const TTL_SECONDS = 60;

/** The user as it was read not long ago, or null. */
export async function getCached(cache: KVNamespace, id: string): Promise<User | null> {
  return cache.get<User>(keyOf(id), "json");
}

export async function putCached(cache: KVNamespace, user: User): Promise<void> {
  await cache.put(keyOf(user.id), JSON.stringify(user), { expirationTtl: TTL_SECONDS });
}

export async function dropCached(cache: KVNamespace, id: string): Promise<void> {
  await cache.delete(keyOf(id));
}

const keyOf = (id: string): string => `user:${id}`;
