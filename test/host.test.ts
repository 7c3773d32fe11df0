import { afterAll, beforeAll, expect, test } from "vitest";
import { startPlatform, type Platform } from "./harness/platform.ts";

let platform: Platform;
beforeAll(async () => {
  platform = await startPlatform();
});
afterAll(() => platform.stop());

test("whoami answers with the default account", async () => {
  const { code, stdout } = await platform.wrangler(["whoami"]);
  expect(stdout).toContain(platform.accountId);
  expect(code).toBe(0);
});
