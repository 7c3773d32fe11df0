/** What `wrangler.toml` binds. */
export interface Env {
  DB: D1Database;
  /** Signing secret of the endpoint (`whsec_…`), set with `wrangler secret put`. */
  STRIPE_WEBHOOK_SECRET: string;
}
