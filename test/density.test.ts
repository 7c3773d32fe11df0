import { afterAll, beforeAll, expect, it } from "vitest";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { pidOf, residentMiB, until } from "./harness/processes.ts";
import { upload } from "./harness/upload.ts";

const SCRIPTS = 2_000;
const CALLS = 5_000;
const AT_ONCE = 8;
const MAX_MIB = 1_000;
const MAX_LEFT_OVER_MIB = 150;
const SILENCE_MS = 60_000;

let platform: Platform;
let pid: number;
let highest = 0;
let sampler: NodeJS.Timeout;

beforeAll(async () => {
  // One process has to hold them all.
  platform = await startPlatform({ env: { MAYFLY_EXECUTORS: "1" } });
  pid = pidOf(platform, "executor-1");
  sampler = setInterval(() => (highest = Math.max(highest, residentMiB(pid))), 200);
});
afterAll(async () => {
  clearInterval(sampler);
  await platform.stop();
});

const nameOf = (index: number): string => `density-${index}`;

/** Calls `work` for each number up to `count`, some at once. */
async function each(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

async function call(script: string): Promise<void> {
  const response = await platform.fetchHost(`${script}.dev.localhost`);
  const text = await response.text();
  if (text !== `I am ${script}`) throw new Error(`${script}: ${response.status} ${text}`);
}

it(
  "serves thousands of scripts, each request in an isolate of its own, within a gigabyte",
  { timeout: 300_000 },
  async () => {
    const atFirst = residentMiB(pid);

    await each(SCRIPTS, async (index) => {
      const name = nameOf(index);
      const code = `export default { fetch: () => new Response("I am ${name}") };`;
      await upload(platform, { name, code, isolation: "request" });
    });
    await each(SCRIPTS, (index) => call(nameOf(index)));
    // A step that has no factor in common with their number reaches all scripts, far apart.
    await each(CALLS, (index) => call(nameOf((index * 997) % SCRIPTS)));
    expect(highest).toBeLessThan(MAX_MIB);

    await until(() => residentMiB(pid) < atFirst + MAX_LEFT_OVER_MIB, SILENCE_MS);
    // It is still the process that it was at first.
    expect(pidOf(platform, "executor-1")).toBe(pid);
  },
);
