import { Hono } from "hono";
import type { Env } from "../env.ts";
import { log } from "../observe/log.ts";
import { authenticate, type Principal } from "./auth.ts";
import { budgets } from "./budgets.ts";
import { drain } from "./drain.ts";
import { egress } from "./egress.ts";
import { failure } from "./envelope.ts";
import { ApiError } from "./error.ts";
import { cronRuns } from "./cron-runs.ts";
import { d1 } from "./d1.ts";
import { databaseSubscriptions } from "./database-subscriptions.ts";
import { deployments } from "./deployments.ts";
import { graphql } from "./graphql.ts";
import { kv } from "./kv.ts";
import { links } from "./links.ts";
import { logs } from "./logs.ts";
import { queues } from "./queues.ts";
import { r2 } from "./r2.ts";
import { scripts } from "./scripts.ts";
import { secrets } from "./secrets.ts";
import { prices } from "./prices.ts";
import { processes } from "./processes.ts";
import { apart, suspects } from "./suspects.ts";
import { storage } from "./storage.ts";
import { tails, tailSockets } from "./tails.ts";
import { tokens } from "./tokens.ts";
import { triggers } from "./triggers.ts";
import { usage } from "./usage.ts";
import { user } from "./user.ts";
import { versions } from "./versions.ts";
import { zones } from "./zones.ts";

/** What handlers find in Hono's context. */
export interface ControlEnv {
  Bindings: Env;
  Variables: { principal: Principal };
}

/** Largest body the API takes, in bytes: an R2 object put through it, as on Cloudflare. */
export const MAX_BODY_BYTES = 300 * 1024 * 1024;

/** Cloudflare's REST API as far as wrangler needs it: https://developers.cloudflare.com/api */
export const control = new Hono<ControlEnv>({ strict: false }).basePath("/client/v4");

control.use(drain);
control.use(async (c, next) => {
  const length = Number(c.req.header("content-length") ?? 0);
  if (length > MAX_BODY_BYTES) {
    throw new ApiError(413, 10027, `body: got ${length} bytes, must be at most ${MAX_BODY_BYTES}`);
  }
  await next();
});
// Links carry a signature of their own instead of a token.
control.route("/links", links);
control.route("/tails", tailSockets);
control.use(authenticate);
control.route("/", user);
control.route("/", graphql);
control.route("/", suspects);
control.route("/", processes);
control.route("/zones", zones);
for (const resource of [
  scripts,
  versions,
  deployments,
  secrets,
  triggers,
  tails,
  kv,
  r2,
  d1,
  databaseSubscriptions,
  queues,
  tokens,
  usage,
  prices,
  storage,
  budgets,
  cronRuns,
  logs,
  egress,
  apart,
]) {
  control.route("/accounts/:account_id", resource);
}

control.notFound((c) =>
  failure(
    new ApiError(404, 7003, `No route for ${c.req.method} ${c.req.path}; see docs/wrangler.md`),
  ),
);

control.onError((error, c) => {
  if (error instanceof ApiError) return failure(error);
  const id = crypto.randomUUID();
  log("error", "api_error", {
    id,
    method: c.req.method,
    path: c.req.path,
    message: error.message,
    stack: error.stack,
  });
  return failure(new ApiError(500, 10013, `Internal error ${id}; the log says more`));
});
