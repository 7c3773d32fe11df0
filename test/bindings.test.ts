import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { afterAll, beforeAll, describe, it } from "vitest";
import { deploy } from "./harness/deploy.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { createQueue } from "./harness/queue.ts";
import { fetchWorker } from "./harness/worker-fetch.ts";

// One worker, whose cases run inside it, on two targets: Miniflare's own bindings and Mayfly's.
const COMPATIBILITY_DATE = "2026-07-01";
const QUEUE = "bindings-suite";
const project = await mkdtemp(join(tmpdir(), "mayfly-bindings-"));
const bundle = join(project, "worker.js");
await build({
  entryPoints: [join(import.meta.dirname, "bindings/worker.ts")],
  outfile: bundle,
  bundle: true,
  format: "esm",
  target: "es2024",
  external: ["node:*", "cloudflare:*"],
});
const miniflare = new Miniflare(
  convertV4MiniflareOptions({
    modules: true,
    script: await readFile(bundle, "utf8"),
    compatibilityDate: COMPATIBILITY_DATE,
    kvNamespaces: ["KV"],
    r2Buckets: ["R2"],
    d1Databases: ["DB"],
    queueProducers: { QUEUE },
    queueConsumers: { [QUEUE]: { maxBatchTimeout: 0 } },
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
    await createQueue(platform, QUEUE);
    address = await deploy(platform, {
      name: "bindings",
      main: bundle,
      no_bundle: true,
      compatibility_date: COMPATIBILITY_DATE,
      kv_namespaces: [{ binding: "KV" }],
      r2_buckets: [{ binding: "R2" }],
      d1_databases: [{ binding: "DB" }],
      queues: {
        producers: [{ binding: "QUEUE", queue: QUEUE }],
        consumers: [{ queue: QUEUE, max_batch_timeout: 0 }],
      },
    });
  });

  afterAll(() => platform?.stop());

  runCases("mayfly", (query) => fetchWorker(`${address}/${query}`));
});

afterAll(async () => {
  await miniflare.dispose();
  await rm(project, { recursive: true });
});
