import { expect } from "vitest";
import type { CommandResult } from "./platform.ts";

/** What the command printed; fails the test if it did not end with 0. */
export async function succeeds(command: Promise<CommandResult>): Promise<string> {
  const { code, stdout, stderr } = await command;
  expect(code, stdout + stderr).toBe(0);
  return stdout;
}

/** What the command printed on both streams; fails the test if it ended with 0. */
export async function fails(command: Promise<CommandResult>): Promise<string> {
  const { code, stdout, stderr } = await command;
  expect(code, stdout + stderr).not.toBe(0);
  return stdout + stderr;
}
