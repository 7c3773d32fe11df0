import { accountsWithBudgets } from "../../catalog/budgets.ts";
import type { Env } from "../../env.ts";
import type { Usage } from "../meter.ts";
import type { BudgetObject } from "./object.ts";

/** The budgets of an account. */
export const budgetsOf = (env: Env, accountId: string): DurableObjectStub<BudgetObject> =>
  env.BUDGETS.get(env.BUDGETS.idFromName(accountId));

/** Tells the accounts' budgets what has been used, once however often the report comes. */
export async function addToBudgets(env: Env, reportId: string, usage: Usage[]): Promise<void> {
  if (usage.length === 0) return;
  const accountIds = [...new Set(usage.map(({ accountId }) => accountId))];
  for (const id of await accountsWithBudgets(env.CATALOG, accountIds)) {
    const ofAccount = usage.filter(({ accountId }) => accountId === id);
    await budgetsOf(env, id).add(reportId, ofAccount);
  }
}
