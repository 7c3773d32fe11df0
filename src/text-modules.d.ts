// Files that the bundlers take in as text. What runs inside isolates is made by
// scripts/preludes.ts as dist/prelude/<name>.txt.
declare module "*.sql" {
  const text: string;
  export default text;
}
declare module "*.txt" {
  const text: string;
  export default text;
}
