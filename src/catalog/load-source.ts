import type { Env } from "../env.ts";
import type { IsolateSource } from "./source.ts";

export async function loadSource(
  _env: Env,
  _versionId: string,
): Promise<IsolateSource | undefined> {
  return undefined;
}
