import { Hono, type Context } from "hono";
import * as z from "zod";
import {
  createAccount,
  findAccount,
  isHostInUse,
  listAccounts,
  setSubdomain,
  type Account,
} from "../catalog/accounts.ts";
import type { ControlEnv } from "./app.ts";
import { readJson } from "./body.ts";
import { paged, success } from "./envelope.ts";
import { ApiError } from "./error.ts";
import { invalidate } from "./invalidate.ts";

/** Who calls, and the accounts there are: https://developers.cloudflare.com/api/resources/accounts */
export const user = new Hono<ControlEnv>();

const ACCOUNTS_PER_PAGE = 20;

// As in Cloudflare's workers.dev: one label of a host name, without underscores.
const subdomain = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
    'must be 1 to 63 of a-z, 0-9 and "-", with no "-" at the ends',
  );
const newAccount = z.object({ name: z.string().trim().min(1).max(100), subdomain });

// Below an account everything refers to it; one that the root token names need not exist.
user.use("/accounts/:account_id/*", async (c, next) => {
  if (!c.var.principal.accountId) await account(c);
  await next();
});

user.get("/user", (c) => {
  const { accountId, tokenId } = c.var.principal;
  if (accountId) throw new ApiError(403, 9109, "The token belongs to an account, not to a user");
  return success({ id: tokenId, email: `root@${c.env.MAYFLY_DOMAIN}`, suspended: false });
});

user.get("/user/tokens/verify", (c) => {
  const { accountId, tokenId } = c.var.principal;
  // wrangler takes this code for the mark of a token that is an account's.
  if (accountId) throw new ApiError(401, 1000, "The token belongs to an account, not to a user");
  return success({ id: tokenId, status: "active" });
});

user.get("/accounts", async (c) => {
  const accounts = await listAccounts(c.env.CATALOG, c.var.principal.accountId);
  const name = c.req.query("name");
  const [page, info] = paged(
    accounts.filter((account) => name === undefined || account.name === name),
    (key) => c.req.query(key),
    ACCOUNTS_PER_PAGE,
  );
  return success(page.map(toResult), info);
});

user.post("/accounts", async (c) => {
  if (c.var.principal.accountId) {
    throw new ApiError(403, 10000, "Authentication error: only the root token makes accounts");
  }
  const { name, subdomain } = await readJson(c, newAccount, 1001);
  await refuseHostInUse(c, subdomain);
  const account = await createAccount(c.env.CATALOG, name, subdomain);
  if (!account) throw subdomainTaken(subdomain);
  return success({ ...toResult(account), subdomain });
});

user.get("/accounts/:account_id", async (c) => success(toResult(await account(c))));

user.get("/memberships", async (c) => {
  const { accountId, access } = c.var.principal;
  const accounts = await listAccounts(c.env.CATALOG, accountId);
  const roles = [access === "write" ? "Administrator" : "Administrator Read Only"];
  const [page, info] = paged(accounts, (key) => c.req.query(key), ACCOUNTS_PER_PAGE);
  return success(
    page.map(({ id, name }) => ({ id, status: "accepted", account: { id, name }, roles })),
    info,
  );
});

user.get("/accounts/:account_id/workers/subdomain", async (c) => {
  const { subdomain } = await account(c);
  return success({ subdomain });
});

user.put("/accounts/:account_id/workers/subdomain", async (c) => {
  const { id, subdomain: current } = await account(c);
  const wanted = await readJson(c, z.object({ subdomain }), 10001);
  if (wanted.subdomain === current) return success(wanted);
  if (current === c.env.MAYFLY_SUBDOMAIN) {
    throw new ApiError(
      409,
      10036,
      `subdomain: "${current}" is the default account's, set by MAYFLY_SUBDOMAIN`,
    );
  }
  await refuseHostInUse(c, wanted.subdomain);
  if (!(await setSubdomain(c.env.CATALOG, id, wanted.subdomain))) {
    throw subdomainTaken(wanted.subdomain);
  }
  await invalidate(c);
  return success(wanted);
});

/** The account of the path. */
async function account(c: Context<ControlEnv>): Promise<Account> {
  const id = c.req.param("account_id") ?? "";
  const account = await findAccount(c.env.CATALOG, id);
  if (!account) throw new ApiError(404, 7003, `account_id: there is no account "${id}"`);
  return account;
}

/** Throws if somebody serves something where the subdomain's scripts would get their addresses. */
async function refuseHostInUse(c: Context<ControlEnv>, subdomain: string): Promise<void> {
  const host = `${subdomain}.${c.env.MAYFLY_DOMAIN}`;
  if (await isHostInUse(c.env.CATALOG, host)) {
    throw new ApiError(
      409,
      10031,
      `subdomain: "${subdomain}" is not available, a zone or custom domain is in ${host}`,
    );
  }
}

const subdomainTaken = (subdomain: string): ApiError =>
  new ApiError(409, 10031, `subdomain: "${subdomain}" is taken by another account`);

const toResult = ({ id, name, createdAt }: Account): Record<string, unknown> => ({
  id,
  name,
  type: "standard",
  settings: { enforce_twofactor: false },
  created_on: createdAt,
});
