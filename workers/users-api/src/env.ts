/** What `wrangler.toml` binds. */
export interface Env {
  DB: D1Database;
  /** Users by id, see `cache.ts`. */
  CACHE: KVNamespace;
  /** Origins whose pages may call the API, separated by commas, or `*`. */
  ALLOWED_ORIGINS: string;
}
