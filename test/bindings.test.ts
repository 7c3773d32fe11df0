import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { afterAll, beforeAll, describe, it } from "vitest";
import { startPlatform, type Platform } from "./harness/platform.ts";

// One worker, whose cases run inside it, on two targets: Miniflare's own bindings and Mayfly's.
const COMPATIBILITY_DATE = "2026-07-01";
const project = await mkdtemp(join(tmpdir(), "mayfly-bindings-"));
await build({
  entryPoints: [join(import.meta.dirname, "bindings/worker.ts")],
  outfile: join(project, "worker.js"),
  bundle: true,
  format: "esm",
  target: "es2024",
  external: ["node:*", "cloudflare:*"],
});
const miniflare = new Miniflare(
  convertV4MiniflareOptions({
    modules: true,
    script: await readFile(join(project, "worker.js"), "utf8"),
    compatibilityDate: COMPATIBILITY_DATE,
    kvNamespaces: ["KV"],
    r2Buckets: ["R2"],
    d1Databases: ["DB"],
  }),
);

interface ListedCase {
  name: string;
  differs?: { on: string; why: string };
}
const cases = (await (await miniflare.dispatchFetch("http://cases/")).json()) as ListedCase[];

function runCases(target: string, fetchCase: (query: string) => Promise<Response>): void {
  for (const { name, differs } of cases) {
    const known = differs?.on === target;
    it(known ? `${name} (differs: ${differs.why})` : name, { fails: known }, async () => {
      const response = await fetchCase(`?case=${encodeURIComponent(name)}`);
      const text = await response.text();
      if (!response.ok) throw new Error(text);
    });
  }
}

describe("Miniflare", () => {
  runCases("miniflare", async (query) => {
    const response = await miniflare.dispatchFetch(`http://cases/${query}`);
    return new Response(await response.text(), { status: response.status });
  });
});

describe("Mayfly", () => {
  let platform: Platform;
  let address: string;

  beforeAll(async () => {
    platform = await startPlatform();
    await writeFile(
      join(project, "wrangler.json"),
      JSON.stringify({
        name: "bindings",
        main: "worker.js",
        no_bundle: true,
        compatibility_date: COMPATIBILITY_DATE,
        kv_namespaces: [{ binding: "KV" }],
        r2_buckets: [{ binding: "R2" }],
        d1_databases: [{ binding: "DB" }],
      }),
    );
    const { stdout } = await platform.wrangler(["deploy"], { cwd: project });
    const printed = /https?:\/\/bindings\.\S+/.exec(stdout)?.[0];
    if (!printed) throw new Error(`wrangler printed no address:\n${stdout}`);
    address = printed;
  });

  afterAll(() => platform.stop());

  runCases("mayfly", (query) => fetch(new URL(query, address)));
});

afterAll(async () => {
  await miniflare.dispose();
  await rm(project, { recursive: true });
});
