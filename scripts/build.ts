// Bundles the platform Worker into dist/worker.js, which the processes of `npm start` run.
import { dirname } from "node:path";
import { build } from "esbuild";
import { writePreludes } from "./preludes.ts";

await writePreludes();
await build({
  entryPoints: ["src/index.ts"],
  absWorkingDir: dirname(import.meta.dirname),
  outfile: "dist/worker.js",
  bundle: true,
  format: "esm",
  target: "es2024",
  conditions: ["workerd", "worker", "browser"],
  external: ["cloudflare:*", "node:*"],
  loader: { ".sql": "text", ".txt": "text" },
  sourcemap: true,
  logLevel: "warning",
});
