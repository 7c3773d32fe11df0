import type { Env } from "../env.ts";
import type { Budget } from "../usage/budgets/protocol.ts";
import type { Rates } from "../usage/budgets/money.ts";
import { open, seal } from "./crypto.ts";

/** A budget with what the catalog knows beside it. */
export interface StoredBudget extends Budget {
  createdAt: string;
  modifiedAt: string;
}

/** What has been used since a period began, as the usage table has it. */
export interface UsedBefore {
  sums: { invocations: number; cpuUs: number }[];
  /** Reports of the last minutes that are in the sums. */
  reportIds: string[];
}

interface Row {
  name: string;
  script_name: string | null;
  unit: Budget["unit"];
  amount: number;
  rates: string | null;
  period: Budget["period"];
  warn_at: string;
  action: Budget["action"];
  throttle_per_second: number | null;
  webhook: string | null;
  created_at: string;
  modified_at: string;
}

const fromRow = (row: Row): StoredBudget => ({
  name: row.name,
  scriptName: row.script_name ?? undefined,
  unit: row.unit,
  amount: row.amount,
  rates: row.rates === null ? undefined : (JSON.parse(row.rates) as Rates),
  period: row.period,
  warnAt: JSON.parse(row.warn_at) as number[],
  action: row.action,
  throttlePerSecond: row.throttle_per_second ?? undefined,
  webhook: row.webhook ?? undefined,
  createdAt: row.created_at,
  modifiedAt: row.modified_at,
});

/** An SQL expression: whether a budget can keep invocations of script `s` from beginning. */
export const IS_BUDGETED = `EXISTS (
  SELECT 1 FROM budgets b
  WHERE b.account_id = s.account_id AND coalesce(b.script_name, s.name) = s.name
    AND b.action <> 'warn'
)`;

/** The account's budgets, by name. */
export async function listBudgets(db: D1Database, accountId: string): Promise<StoredBudget[]> {
  const { results } = await db
    .prepare("SELECT * FROM budgets WHERE account_id = ? ORDER BY name")
    .bind(accountId)
    .all<Row>();
  return results.map(fromRow);
}

/** Which of the accounts have budgets. */
export async function accountsWithBudgets(db: D1Database, accountIds: string[]): Promise<string[]> {
  const { results } = await db
    .prepare(
      `SELECT value AS id FROM json_each(?)
      WHERE EXISTS (SELECT 1 FROM budgets WHERE account_id = value)`,
    )
    .bind(JSON.stringify(accountIds))
    .all<{ id: string }>();
  return results.map(({ id }) => id);
}

/** Sets the budget in place of the account's other one of the name; keeps that one's secret. */
export async function putBudget(db: D1Database, accountId: string, budget: Budget): Promise<void> {
  const now = new Date().toISOString();
  await db
    .prepare(
      `INSERT INTO budgets (account_id, name, script_name, unit, amount, rates, period, warn_at, action,
        throttle_per_second, webhook, created_at, modified_at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?12, ?12)
      ON CONFLICT DO UPDATE SET script_name = excluded.script_name, unit = excluded.unit,
        amount = excluded.amount, rates = excluded.rates, period = excluded.period,
        warn_at = excluded.warn_at, action = excluded.action,
        throttle_per_second = excluded.throttle_per_second, webhook = excluded.webhook,
        modified_at = excluded.modified_at`,
    )
    .bind(
      accountId,
      budget.name,
      budget.scriptName ?? null,
      budget.unit,
      budget.amount,
      budget.rates ? JSON.stringify(budget.rates) : null,
      budget.period,
      JSON.stringify(budget.warnAt),
      budget.action,
      budget.throttlePerSecond ?? null,
      budget.webhook ?? null,
      now,
    )
    .run();
}

/** Whether there was one of the name. */
export async function deleteBudget(
  db: D1Database,
  accountId: string,
  name: string,
): Promise<boolean> {
  const { meta } = await db
    .prepare("DELETE FROM budgets WHERE account_id = ? AND name = ?")
    .bind(accountId, name)
    .run();
  return meta.changes > 0;
}

const contextOf = (accountId: string, name: string): string => `budget ${accountId}/${name}`;

/** Where the budget's warnings go to and what they are signed with; undefined if nowhere. */
export async function findWebhook(
  env: Env,
  accountId: string,
  name: string,
): Promise<{ url: string; secret: string } | undefined> {
  const row = await env.CATALOG.prepare(
    "SELECT webhook, webhook_secret FROM budgets WHERE account_id = ? AND name = ?",
  )
    .bind(accountId, name)
    .first<{ webhook: string | null; webhook_secret: string | null }>();
  if (!row?.webhook || !row.webhook_secret) return undefined;
  const context = contextOf(accountId, name);
  return {
    url: row.webhook,
    secret: await open(env.MAYFLY_SECRETS_KEY, context, row.webhook_secret),
  };
}

/** Keeps the secret, unless the budget has one; whether it is the budget's now. */
export async function keepWebhookSecret(
  env: Env,
  accountId: string,
  name: string,
  secret: string,
): Promise<boolean> {
  const sealed = await seal(env.MAYFLY_SECRETS_KEY, contextOf(accountId, name), secret);
  const { meta } = await env.CATALOG.prepare(
    "UPDATE budgets SET webhook_secret = ? WHERE account_id = ? AND name = ? AND webhook_secret IS NULL",
  )
    .bind(sealed, accountId, name)
    .run();
  return meta.changes > 0;
}

/** A report that may come once more came for the first time not longer ago than this. */
const REPORTS_LOOK_BACK_MS = 10 * 60_000;

/**
 * What the account, or its script of the name, has used since then (milliseconds since 1970), for each that is
 * asked for.
 */
export async function usedSince(
  db: D1Database,
  accountId: string,
  asked: { scriptName: string | undefined; since: number }[],
): Promise<UsedBefore> {
  const select = db.prepare(
    `SELECT coalesce(sum(invocations), 0) AS invocations, coalesce(sum(cpu_time_us), 0) AS cpuUs
    FROM usage WHERE account_id = ?1 AND minute >= ?2 AND script_name = coalesce(?3, script_name)`,
  );
  const reports = db.prepare("SELECT id FROM usage_batches WHERE at > ?");
  // In one transaction, so that all sums have just these reports in them.
  const [ids, ...sums] = await db.batch<{ id: string; invocations: number; cpuUs: number }>([
    reports.bind(Date.now() - REPORTS_LOOK_BACK_MS),
    ...asked.map(({ scriptName, since }) =>
      select.bind(accountId, since / 60_000, scriptName ?? null),
    ),
  ]);
  return {
    sums: sums.map(({ results }) => results[0] ?? { invocations: 0, cpuUs: 0 }),
    reportIds: ids?.results.map(({ id }) => id) ?? [],
  };
}
