import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { deploy } from "./harness/deploy.ts";
import { succeeds } from "./harness/expect-command.ts";
import { meanwhile } from "./harness/meanwhile.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { fetchWorker } from "./harness/worker-fetch.ts";

let folder: string;
let platform: Platform;
let address: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "mayfly-backup-"));
  platform = await startPlatform({ dataDir: join(folder, "data") });
  address = await deploy(platform, {
    name: "diary",
    main: fileURLToPath(new URL("workers/diary/index.js", import.meta.url)),
    kv_namespaces: [{ binding: "KV" }],
    r2_buckets: [{ binding: "BUCKET" }],
    d1_databases: [{ binding: "DB" }],
    unsafe: { metadata: { mayfly: { isolation: "shared" } } },
  });
});
afterAll(async () => {
  await platform.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Writes one entry into each store, under the number. */
const write = async (entry: number): Promise<void> => {
  const response = await fetchWorker(`${address}/${entry}`, { method: "PUT" });
  expect(response.status).toBe(200);
};

test("what was written before a backup is in it, while the platform goes on", async () => {
  const load = { goesOn: true, written: 0 };
  const writer = async (): Promise<void> => {
    while (load.goesOn) {
      await write(load.written);
      load.written++;
    }
  };
  const writing = meanwhile(writer());
  const backup = join(folder, "backup");
  while (load.written < 20) await new Promise((resolve) => setTimeout(resolve, 10));
  const before = load.written;
  await succeeds(platform.mayfly(["backup", backup]));
  const after = load.written;
  load.goesOn = false;
  await writing;
  expect(after).toBeGreaterThan(before);

  await platform.kill();
  const dataDir = join(folder, "restored");
  await succeeds(platform.mayfly(["restore", backup], { env: { MAYFLY_DATA: dataDir } }));
  const { token, port } = platform;
  platform = await startPlatform({ dataDir, env: { PORT: String(port) } });
  expect(platform.token).toBe(token);

  const response = await fetchWorker(address);
  const entries = (await response.json()) as Record<"kv" | "r2" | "d1", number[]>;
  const expected = Array.from({ length: before }, (_, index) => index);
  for (const store of ["kv", "r2", "d1"] as const) {
    expect(entries[store], store).toEqual(expect.arrayContaining(expected));
    expect(entries[store].length).toBeLessThanOrEqual(after + 1);
  }
  await write(1_000_000);
});

test("a backup goes into an empty folder only", async () => {
  const { code, stderr } = await platform.mayfly(["backup", folder]);
  expect(stderr).toContain(`backup: got ${folder}, must be an empty folder`);
  expect(code).toBe(1);
});

test("a folder that is no backup is not restored", async () => {
  const dataDir = join(folder, "none");
  const { code, stderr } = await platform.mayfly(["restore", tmpdir()], {
    env: { MAYFLY_DATA: dataDir },
  });
  expect(stderr).toContain("is no backup: credentials.json is missing");
  expect(code).toBe(1);
  expect(existsSync(dataDir)).toBe(false);
});

test("a data folder in use is not overwritten by a backup", async () => {
  const { code, stderr } = await platform.mayfly(["restore", join(folder, "backup")]);
  expect(stderr).toContain("MAYFLY_DATA: got");
  expect(code).toBe(1);
});
