import { Hono } from "hono";
import * as z from "zod";
import {
  deleteBudget,
  keepWebhookSecret,
  listBudgets,
  putBudget,
  type StoredBudget,
} from "../catalog/budgets.ts";
import { isApiHost } from "../catalog/host.ts";
import { getScript } from "../catalog/scripts.ts";
import type { Env } from "../env.ts";
import { addressRule } from "../bindings/egress/address.ts";
import { budgetsOf } from "../usage/budgets/budgets-of.ts";
import { cloudflareRates } from "../usage/budgets/money.ts";
import type { Budget, BudgetUse } from "../usage/budgets/protocol.ts";
import { newSecret } from "../usage/budgets/webhook.ts";
import type { ControlEnv } from "./app.ts";
import { readJson } from "./body.ts";
import { success } from "./envelope.ts";
import { ApiError, invalid } from "./error.ts";
import { invalidate } from "./invalidate.ts";
import { accountOf, unknownScript } from "./script.ts";

/** What an account and its scripts may use: Mayfly's own, see docs/usage.md. */
export const budgets = new Hono<ControlEnv>();

const INVALID = 10001;
const NOT_FOUND = 10007;
const NAME = /^[a-z0-9_][a-z0-9_-]{0,62}$/;
/** All are looked at for each lease. */
const MAX_BUDGETS = 100;
const MAX_WARNINGS = 10;
const MAX_AMOUNT = 1e15;

const amount = z.number().positive().max(MAX_AMOUNT);
const rate = z.number().min(0).max(1e6);
const newBudget = z.strictObject({
  /** Missing: all scripts of the account together. */
  script: z.string().exactOptional(),
  /** One of them. */
  limit: z
    .strictObject({
      invocations: z.int().positive().max(MAX_AMOUNT).exactOptional(),
      cpu_ms: amount.exactOptional(),
      usd: amount.exactOptional(),
    })
    .refine(
      (limit) => Object.keys(limit).length === 1,
      "must have one of invocations, cpu_ms, usd",
    ),
  /** Dollars for a million of each, for a limit in dollars; Cloudflare's if missing. */
  rates: z
    .strictObject({ per_million_invocations: rate, per_million_cpu_ms: rate })
    .exactOptional(),
  period: z.enum(["day", "month"]).default("month"),
  /** Shares of the limit. */
  warn_at: z.array(z.number().positive().max(1)).max(MAX_WARNINGS).default([0.8]),
  action: z.enum(["warn", "throttle", "stop"]).default("warn"),
  throttle_per_second: z.int().positive().max(1e6).exactOptional(),
  webhook: z
    .url({ protocol: /^https?$/ })
    .max(2_000)
    .exactOptional(),
});

/** All budgets, with how they stand. */
budgets.get("/mayfly/budgets", async (c) => success(await standing(c.env, accountOf(c))));

budgets.get("/mayfly/budgets/:name", async (c) => {
  const name = c.req.param("name");
  const found = (await standing(c.env, accountOf(c))).find((budget) => budget.name === name);
  if (!found) throw unknown(name);
  return success(found);
});

/**
 * Makes the budget or replaces it. What has been used in the period counts. With a webhook for the first time the
 * answer has `webhook_secret`, which is shown only then.
 */
budgets.put("/mayfly/budgets/:name", async (c) => {
  const { env } = c;
  const account = accountOf(c);
  const budget = toBudget(c.req.param("name"), await readJson(c, newBudget, INVALID));
  const { name, scriptName, webhook } = budget;
  if (scriptName !== undefined && !(await getScript(env.CATALOG, account, scriptName))) {
    throw unknownScript(scriptName);
  }
  if (webhook !== undefined) checkWebhook(webhook, env);
  const others = (await listBudgets(env.CATALOG, account)).filter((other) => other.name !== name);
  if (others.length >= MAX_BUDGETS) {
    throw new ApiError(400, INVALID, `An account may have at most ${MAX_BUDGETS} budgets`);
  }
  await putBudget(env.CATALOG, account, budget);
  const secret = webhook === undefined ? undefined : newSecret();
  const isNew = secret !== undefined && (await keepWebhookSecret(env, account, name, secret));
  await budgetsOf(env, account).refresh();
  await invalidate(c);
  const result = (await standing(env, account)).find((budget) => budget.name === name);
  return success({ ...result, ...(isNew && { webhook_secret: secret }) });
});

budgets.delete("/mayfly/budgets/:name", async (c) => {
  const name = c.req.param("name");
  if (!(await deleteBudget(c.env.CATALOG, accountOf(c), name))) throw unknown(name);
  await budgetsOf(c.env, accountOf(c)).refresh();
  await invalidate(c);
  return success({ name });
});

const unknown = (name: string): ApiError =>
  new ApiError(404, NOT_FOUND, `name: there is no budget "${name}"`);

function toBudget(name: string, given: z.output<typeof newBudget>): Budget {
  const allowed = '1 to 63 of a-z, 0-9, "-" and "_", and not begin with "-"';
  if (!NAME.test(name)) throw invalid(INVALID, "name", name, allowed);
  const { script, limit, rates, period, warn_at, action, throttle_per_second, webhook } = given;
  const [unit, amount] = Object.entries(limit)[0] as [Budget["unit"], number];
  if (rates && unit !== "usd") throw invalid(INVALID, "rates", rates, "missing: no limit in usd");
  if ((action === "throttle") !== (throttle_per_second !== undefined)) {
    const allowed = action === "throttle" ? "given with throttle" : `missing with ${action}`;
    throw invalid(INVALID, "throttle_per_second", throttle_per_second ?? null, allowed);
  }
  const ownRates = rates && {
    perMillionInvocations: rates.per_million_invocations,
    perMillionCpuMs: rates.per_million_cpu_ms,
  };
  return {
    name,
    scriptName: script,
    unit,
    amount,
    rates: unit === "usd" ? (ownRates ?? cloudflareRates()) : undefined,
    period,
    warnAt: [...new Set(warn_at)].sort((a, b) => a - b),
    action,
    throttlePerSecond: throttle_per_second,
    webhook,
  };
}

/** Names may lead to private addresses, too: that is found out when they are called. */
function checkWebhook(webhook: string, env: Env): void {
  const { hostname, username, password } = new URL(webhook);
  const isOwn = hostname.endsWith(`.${env.MAYFLY_DOMAIN}`);
  const isRefused = isApiHost(env, hostname) || (!isOwn && addressRule(hostname) !== undefined);
  if (!isRefused && username === "" && password === "") return;
  const allowed = "an http(s) URL of a public host or of a worker, without user and password";
  throw invalid(INVALID, "webhook", webhook, allowed);
}

async function standing(env: Env, accountId: string): Promise<Result[]> {
  const stored = await listBudgets(env.CATALOG, accountId);
  if (stored.length === 0) return [];
  const uses = await budgetsOf(env, accountId).uses();
  return stored.flatMap((budget) => {
    const use = uses.find(({ name }) => name === budget.name);
    return use ? [toResult(budget, use)] : [];
  });
}

/** A budget as the API shows it. */
type Result = ReturnType<typeof toResult>;

function toResult(budget: StoredBudget, { used, periodStart, periodEnd }: BudgetUse) {
  const { rates, amount } = budget;
  return {
    name: budget.name,
    script: budget.scriptName ?? null,
    limit: { [budget.unit]: amount },
    rates: rates
      ? {
          per_million_invocations: rates.perMillionInvocations,
          per_million_cpu_ms: rates.perMillionCpuMs,
        }
      : null,
    period: budget.period,
    warn_at: budget.warnAt,
    action: budget.action,
    throttle_per_second: budget.throttlePerSecond ?? null,
    webhook: budget.webhook ?? null,
    state: stateOf(budget, used),
    used,
    period_start: new Date(periodStart).toISOString(),
    period_end: new Date(periodEnd).toISOString(),
    created_on: budget.createdAt,
    modified_on: budget.modifiedAt,
  };
}

const USED_UP = { warn: "exceeded", throttle: "throttled", stop: "stopped" } as const;

function stateOf({ amount, action, warnAt }: Budget, used: number): string {
  if (used >= amount) return USED_UP[action];
  return warnAt.some((share) => used >= share * amount) ? "warning" : "ok";
}
