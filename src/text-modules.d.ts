// Files that the bundler takes in as text: see [[rules]] in wrangler.toml.
declare module "*.sql" {
  const text: string;
  export default text;
}
declare module "*/dist/prelude/*.js" {
  const text: string;
  export default text;
}
