// Bundles the platform Worker into dist/worker.js, which the processes of `npm start` run. It is not
// minified, so that stacks in the log can be read: workerd applies no source maps.
import { renameSync } from "node:fs";
import { dirname, join } from "node:path";
import { build } from "esbuild";
import { writePreludes } from "./preludes.ts";

const root = dirname(import.meta.dirname);
const outfile = join(root, "dist/worker.js");
// Put in its place when it is whole, since a platform may be starting from it.
const draft = join(root, `dist/worker-${process.pid}.js`);

await writePreludes();
await build({
  entryPoints: ["src/index.ts"],
  absWorkingDir: root,
  outfile: draft,
  bundle: true,
  format: "esm",
  target: "es2024",
  conditions: ["workerd", "worker", "browser"],
  external: ["cloudflare:*", "node:*"],
  loader: { ".sql": "text", ".txt": "text" },
  logLevel: "warning",
});
renameSync(draft, outfile);
