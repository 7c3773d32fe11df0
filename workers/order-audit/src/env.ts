/** What `wrangler.toml` binds. */
export interface Env {
  ORDERS: D1Database;
  AUDIT: D1Database;
}
