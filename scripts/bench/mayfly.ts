import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Platform } from "../../test/harness/platform.ts";
import { upload } from "../../test/harness/upload.ts";
import { requestBytes } from "./connection.ts";
import type { Stage, Target } from "./stage.ts";

/** The worker that every target serves. */
export const HELLO = readFileSync(join(import.meta.dirname, "hello.js"), "utf8");

/** How a script's isolates are used. */
export type Isolation = "request" | "shared";

/** A platform that serves the worker in both modes, as the script of the mode's name. */
export interface Mayfly extends Record<Isolation, Target> {
  platform: Platform;
}

/** Starts `mayfly start` with so many executors and deploys the worker through the API. */
export async function startMayfly(stage: Stage, executors: number): Promise<Mayfly> {
  const platform = await stage.platform({ env: { MAYFLY_EXECUTORS: String(executors) } });
  const targets = { request: at(platform, "request"), shared: at(platform, "shared") };
  for (const isolation of ["request", "shared"] as const) {
    await upload(platform, { name: isolation, code: HELLO, isolation });
    await stage.untilAnswered(targets[isolation]);
  }
  return { platform, ...targets };
}

/** Where a script of the platform is called. */
export const at = ({ port }: Pick<Platform, "port">, script: string): Target => ({
  port,
  request: requestBytes(`${script}.dev.localhost:${port}`),
});

let named = 0;

/** Deploys scripts and gives a request to each, which nobody has called. */
export async function firstInMayfly(
  platform: Platform,
  count: number,
  isolation: Isolation,
): Promise<Buffer[]> {
  const requests: Buffer[] = [];
  for (let left = count; left > 0; left--) {
    const name = `first-${named++}`;
    // Each has code of its own: nothing is at hand because another script has the same.
    await upload(platform, { name, code: `${HELLO}// ${name}\n`, isolation });
    requests.push(at(platform, name).request);
  }
  return requests;
}
