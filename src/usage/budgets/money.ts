/** What use costs, for budgets in dollars. */
export interface Rates {
  /** Dollars for a million invocations. */
  perMillionInvocations: number;
  /** Dollars for a million milliseconds of CPU time. */
  perMillionCpuMs: number;
}

/** What Workers Paid takes for what goes beyond the plan's: see `usage/prices/`. */
export const CLOUDFLARE_RATES: Rates = { perMillionInvocations: 0.3, perMillionCpuMs: 0.02 };

/**
 * In dollars. Worked out from whole counts each time, and never added up. Without anything that is free or
 * graded, so that the costs of an account's scripts add up to the account's.
 */
export const costOf = (invocations: number, cpuTimeUs: number, rates: Rates): number =>
  (invocations * rates.perMillionInvocations + (cpuTimeUs / 1000) * rates.perMillionCpuMs) / 1e6;
