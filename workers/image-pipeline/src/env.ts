/** The worker's bindings: see wrangler.toml. */
export interface Env {
  BUCKET: R2Bucket;
}
