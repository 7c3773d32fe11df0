import type { MiddlewareHandler } from "hono";
import { findPrincipal } from "../catalog/tokens.ts";
import { sha256 } from "../catalog/crypto.ts";
import type { ControlEnv } from "./app.ts";
import { ApiError } from "./error.ts";

/** Who calls the API and what it may do. */
export interface Principal {
  /** The only account it may touch; undefined for the root token, which may touch all. */
  accountId: string | undefined;
  access: "read" | "write";
  tokenId: string;
  tokenName: string;
}

// Reads that are sent as POST. Names of keys and objects are part of paths too: so the whole path.
const READS_BY_POST =
  /^\/client\/v4\/(?:graphql|accounts\/[^/]+\/storage\/kv\/namespaces\/[^/]+\/bulk\/get)$/;

// Who may read may also look on: sessions of `wrangler tail` are begun and ended, and change nothing.
const TAILS = /^\/client\/v4\/accounts\/[^/]+\/workers\/scripts\/[^/]+\/tails(?:\/[^/]+)?$/;

/**
 * Lets a request pass if its token is known, is bound to the account of the path and may do what
 * the method asks. Takes `Authorization: Bearer` or, as wrangler's older style, `X-Auth-Key`.
 */
export const authenticate: MiddlewareHandler<ControlEnv> = async (c, next) => {
  const header = c.req.header("authorization");
  const token = header?.startsWith("Bearer ") ? header.slice(7).trim() : c.req.header("x-auth-key");
  if (!token) throw new ApiError(401, 9106, "Missing Authorization: Bearer <token>");
  const principal = await identify(c.env, token);
  if (!principal) throw new ApiError(401, 10000, "Authentication error: the token is not valid");

  const account = /^\/client\/v4\/accounts\/([^/]+)/.exec(c.req.path)?.[1];
  if (account && principal.accountId && account !== principal.accountId) {
    throw new ApiError(403, 10000, "Authentication error: the token is for another account");
  }
  const { method, path } = c.req;
  const reads =
    method === "GET" ||
    method === "HEAD" ||
    (method === "POST" && READS_BY_POST.test(path)) ||
    TAILS.test(path);
  if (!reads && principal.access === "read") {
    throw new ApiError(403, 10000, "Authentication error: the token can only read");
  }
  c.set("principal", principal);
  await next();
};

/** Whose token it is, or undefined. */
export async function identify(
  env: ControlEnv["Bindings"],
  token: string,
): Promise<Principal | undefined> {
  if (!env.MAYFLY_TOKEN) {
    throw new ApiError(503, 10000, "No root token is configured: set MAYFLY_TOKEN");
  }
  // Digests have one length, so the comparison takes the same time whatever was sent.
  const [given, root] = await Promise.all([sha256(token), sha256(env.MAYFLY_TOKEN)]);
  if (crypto.subtle.timingSafeEqual(given, root)) {
    return { accountId: undefined, access: "write", tokenId: "root", tokenName: "root" };
  }
  return findPrincipal(env.CATALOG, given);
}
