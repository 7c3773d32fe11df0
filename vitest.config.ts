import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: "test/harness/build.ts",
    // Each file starts a platform of several processes: more at once only makes them all slow.
    maxWorkers: 2,
    testTimeout: 60_000,
    // Many wait for real processes to be killed, noticed and started again, which a machine that is busy with
    // something else delays. What is wrong fails twice.
    retry: 1,
    hookTimeout: 60_000,
  },
});
