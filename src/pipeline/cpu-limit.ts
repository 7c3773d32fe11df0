import type { VersionTarget } from "../catalog/routing.ts";
import type { Env } from "../env.ts";

// Where nothing is configured Cloudflare's own limits hold.
const UNLIMITED_MS = 0xffff_ffff;

/** CPU time that one invocation of a version without a limit of its own may take. */
export const defaultCpuMs = (env: Env): number => Number(env.MAYFLY_CPU_MS || UNLIMITED_MS);

/** CPU time that one invocation of the version may take, in milliseconds. */
export function cpuLimitOf({ cpuMs }: VersionTarget, env: Env): number {
  return Math.min(cpuMs ?? defaultCpuMs(env), Number(env.MAYFLY_MAX_CPU_MS || UNLIMITED_MS));
}
