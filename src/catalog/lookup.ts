import type { Env } from "../env.ts";
import type { HostTable, ScriptTarget } from "./routing.ts";

export async function findHost(_env: Env, _host: string): Promise<HostTable | undefined> {
  return undefined;
}

export async function findScript(
  _db: D1Database,
  _accountId: string,
  _scriptName: string,
): Promise<ScriptTarget | undefined> {
  return undefined;
}
