import type { Context } from "hono";
import { getScript, type Script } from "../catalog/scripts.ts";
import type { ControlEnv } from "./app.ts";
import { ApiError } from "./error.ts";

/** The account of the path. */
export const accountOf = (c: Context<ControlEnv>): string => c.req.param("account_id") ?? "";

/** The script of the path; throws Cloudflare's `code` if the account has no such script. */
export async function scriptOf(c: Context<ControlEnv>, code = 10007): Promise<Script> {
  const name = c.req.param("script_name") ?? "";
  const script = await getScript(c.env.CATALOG, accountOf(c), name);
  if (!script) throw unknownScript(name, code);
  return script;
}

export const unknownScript = (name: string, code = 10007): ApiError =>
  new ApiError(404, code, `This Worker does not exist on your account: "${name}"`);
