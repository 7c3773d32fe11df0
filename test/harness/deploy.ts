import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CommandResult, Platform } from "./platform.ts";

/** A wrangler configuration; `main` is an absolute path. */
export interface Config {
  name: string;
  main: string;
  [field: string]: unknown;
}

/** Runs wrangler in a project of just this configuration. Does not throw when it fails. */
export async function wranglerWith(
  platform: Platform,
  config: Config,
  args: string[],
  input?: string,
): Promise<CommandResult> {
  const folder = mkdtempSync(join(tmpdir(), "mayfly-project-"));
  const complete = { compatibility_date: "2026-07-01", ...config };
  writeFileSync(join(folder, "wrangler.json"), JSON.stringify(complete));
  try {
    return await platform.wrangler(args, { cwd: folder, ...(input !== undefined && { input }) });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Deploys with the real wrangler and gives the address that it prints. Throws when it fails. */
export async function deploy(platform: Platform, config: Config): Promise<string> {
  const { code, stdout, stderr } = await wranglerWith(platform, config, ["deploy"]);
  // wrangler prints the host without its port.
  const host = /^ {2}(\S+\.localhost)$/m.exec(stdout)?.[1];
  if (code !== 0 || !host) throw new Error(`wrangler deploy failed:\n${stdout}\n${stderr}`);
  return `http://${host}:${platform.port}`;
}
