import { configDefaults, defineConfig } from "vitest/config";

// What puts the whole machine under load, and wants it for itself: `npm run test:soak`.
const SOAK = ["test/chaos.test.ts", "test/neighbours.test.ts", "test/memory-limit.test.ts"];

const soak = Boolean(process.env["MAYFLY_SOAK"]);

export default defineConfig({
  test: {
    include: soak ? SOAK : ["test/**/*.test.ts"],
    exclude: [...configDefaults.exclude, ...(soak ? [] : SOAK)],
    globalSetup: "test/harness/build.ts",
    // Each file starts a platform of several processes, and waits a lot: so a few more than there are cores, but
    // many at once only make them all slow.
    maxWorkers: soak ? 1 : 3,
    testTimeout: 60_000,
    // Many wait for real processes to be killed, noticed and started again, which a machine that is busy with
    // something else delays. What is wrong fails twice.
    retry: 1,
    hookTimeout: 60_000,
  },
});
