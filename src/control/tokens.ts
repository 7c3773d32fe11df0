import { Hono } from "hono";
import * as z from "zod";
import { createToken, findToken, listTokens, revokeToken, type Token } from "../catalog/tokens.ts";
import type { ControlEnv } from "./app.ts";
import { readJson } from "./body.ts";
import { paged, success } from "./envelope.ts";
import { ApiError } from "./error.ts";
import { accountOf } from "./script.ts";

/**
 * An account's API tokens: https://developers.cloudflare.com/api/resources/accounts/subresources/tokens
 * In place of Cloudflare's policies a token has one `access`, `read` or `write`, to all of the account.
 */
export const tokens = new Hono<ControlEnv>();

const TOKENS_PER_PAGE = 20;
const FIELD_INVALID = 1001;
const TOKEN_NOT_FOUND = 1003;

const newToken = z.strictObject({
  name: z.string().trim().min(1).max(120),
  access: z.enum(["read", "write"]).default("write"),
});

// Any token may ask what it is itself.
tokens.get("/tokens/verify", (c) => {
  const { accountId, tokenId } = c.var.principal;
  if (!accountId) throw new ApiError(401, 1000, "The root token belongs to no account");
  return success({ id: tokenId, status: "active" });
});

tokens.use("/tokens/*", async (c, next) => {
  if (c.var.principal.access !== "write") {
    throw new ApiError(403, 10000, "Authentication error: managing tokens takes access to write");
  }
  await next();
});

tokens.get("/tokens", async (c) => {
  const all = await listTokens(c.env.CATALOG, accountOf(c));
  const [page, info] = paged(all, (key) => c.req.query(key), TOKENS_PER_PAGE);
  return success(page.map(toResult), info);
});

tokens.post("/tokens", async (c) => {
  const { name, access } = await readJson(c, newToken, FIELD_INVALID);
  const token = await createToken(c.env.CATALOG, accountOf(c), name, access);
  return success({ ...toResult(token), value: token.value });
});

tokens.get("/tokens/:token_id", async (c) => {
  const id = c.req.param("token_id");
  const token = await findToken(c.env.CATALOG, accountOf(c), id);
  if (!token) throw notFound(id);
  return success(toResult(token));
});

tokens.delete("/tokens/:token_id", async (c) => {
  const id = c.req.param("token_id");
  if (!(await revokeToken(c.env.CATALOG, accountOf(c), id))) throw notFound(id);
  return success({ id });
});

const notFound = (id: string): ApiError =>
  new ApiError(404, TOKEN_NOT_FOUND, `token_id: there is no token "${id}"`);

const toResult = ({ id, name, access, createdAt }: Token): Record<string, unknown> => ({
  id,
  name,
  access,
  status: "active",
  issued_on: createdAt,
});
