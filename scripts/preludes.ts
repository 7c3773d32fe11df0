import { globSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { build, type Plugin } from "esbuild";

const root = dirname(import.meta.dirname);

// `mayfly:<name>` is the module that the platform puts beside these in the isolate's graph.
const graphModules: Plugin = {
  name: "graph-modules",
  setup(build) {
    build.onResolve({ filter: /^mayfly:/ }, ({ path }) => ({
      path: path.replace("mayfly:", "./") + ".js",
      external: true,
    }));
  },
};

/**
 * Bundles what runs inside users' isolates into `dist/prelude/<name>.txt`: one small module for each
 * `src/bindings/<kind>/client.ts` and each `src/isolates/prelude/<name>.ts`. They end in `.txt`
 * because the platform takes them in as text, which wrangler does with that ending by default.
 */
export async function writePreludes(): Promise<void> {
  const entryPoints: Record<string, string> = {};
  for (const file of globSync("src/bindings/*/client.ts", { cwd: root })) {
    entryPoints[basename(dirname(file))] = file;
  }
  for (const file of globSync("src/isolates/prelude/*.ts", { cwd: root })) {
    if (file.endsWith(".d.ts")) continue;
    const name = basename(file, ".ts");
    if (entryPoints[name]) throw new Error(`${file}: ${entryPoints[name]} makes ${name}.txt too`);
    entryPoints[name] = file;
  }
  await build({
    entryPoints,
    absWorkingDir: root,
    outdir: join(root, "dist/prelude"),
    outExtension: { ".js": ".txt" },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    external: ["cloudflare:*", "node:*"],
    plugins: [graphModules],
    logLevel: "warning",
  });
}
