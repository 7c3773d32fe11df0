import type { EgressRules } from "../bindings/egress/rules.ts";

/** The account's rules, or undefined if it has none. */
export async function findEgressRules(
  db: D1Database,
  accountId: string,
): Promise<EgressRules | undefined> {
  const row = await db
    .prepare("SELECT allow, deny FROM egress_rules WHERE account_id = ?")
    .bind(accountId)
    .first<{ allow: string; deny: string }>();
  if (!row) return undefined;
  return { allow: JSON.parse(row.allow) as string[], deny: JSON.parse(row.deny) as string[] };
}

/** Gives the account these rules in place of those that it had. */
export async function replaceEgressRules(
  db: D1Database,
  accountId: string,
  { allow, deny }: EgressRules,
): Promise<void> {
  await db
    .prepare("INSERT OR REPLACE INTO egress_rules (account_id, allow, deny) VALUES (?, ?, ?)")
    .bind(accountId, JSON.stringify(allow), JSON.stringify(deny))
    .run();
}
