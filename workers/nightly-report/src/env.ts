/** What `wrangler.toml` binds. */
export interface Env {
  DB: D1Database;
  REPORTS: R2Bucket;
}
