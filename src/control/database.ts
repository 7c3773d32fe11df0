import type { Context } from "hono";
import { findDatabase, type Database } from "../catalog/databases.ts";
import type { ControlEnv } from "./app.ts";
import { ApiError } from "./error.ts";

// Cloudflare's codes for D1.
export const MALFORMED = 7400;
export const NOT_FOUND = 7404;
export const SQL_ERROR = 7500;
export const NAME_TAKEN = 7502;

/** The database that the path names by id or name. Throws 7404 if the account has none such. */
export async function requireDatabase(c: Context<ControlEnv>): Promise<Database> {
  const idOrName = c.req.param("database") ?? "";
  const accountId = c.req.param("account_id") ?? "";
  const database = await findDatabase(c.env.CATALOG, accountId, idOrName);
  if (!database) {
    throw new ApiError(404, NOT_FOUND, `The database ${idOrName} could not be found`);
  }
  return database;
}
