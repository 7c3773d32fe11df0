import { costOf } from "./money.ts";
import type { Budget } from "./protocol.ts";
import type { Counter } from "./store.ts";

/** What the budget is for: the account (""), or its script of that name. */
export const scopeOf = ({ scriptName = "" }: Budget): string => scriptName;

/** Whether what it limits is counted before it begins, and so exactly. */
export const isCap = ({ unit, action }: Budget): boolean =>
  unit === "invocations" && action !== "warn";

export const isOver = ({ amount }: Budget, used: number): boolean => used >= amount;

type CounterKey = Pick<Counter, "scope" | "period">;
/** `caps`: whether invocations are counted before they begin. */
export type WantedCounter = CounterKey & { caps: boolean };

export const findCounter = <T extends CounterKey>(
  counters: T[],
  { scope, period }: CounterKey,
): T | undefined => counters.find((known) => known.scope === scope && known.period === period);

/** The counters that the budgets need, each once. */
export function countersOf(budgets: Budget[]): WantedCounter[] {
  const counters = new Map<string, WantedCounter>();
  for (const budget of budgets) {
    const { period } = budget;
    const scope = scopeOf(budget);
    const key = `${period} ${scope}`;
    const caps = isCap(budget) || (counters.get(key)?.caps ?? false);
    counters.set(key, { scope, period, caps });
  }
  return [...counters.values()];
}

/** In the budget's unit; `held` of what was charged is not used yet. */
export function usedOf(budget: Budget, counters: Counter[], held: number): number {
  const counter = findCounter(counters, { scope: scopeOf(budget), period: budget.period });
  if (!counter) return 0;
  const { charged, invocations, cpuUs } = counter;
  switch (budget.unit) {
    case "invocations":
      return isCap(budget) ? (charged ?? 0) - held : invocations;
    case "cpu_ms":
      return cpuUs / 1000;
    case "usd":
      return budget.rates ? costOf(invocations, cpuUs, budget.rates) : 0;
  }
}
