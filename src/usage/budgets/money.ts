import { priceSheets } from "../prices/sheets.ts";

/** What use costs, for budgets in dollars. */
export interface Rates {
  /** Dollars for a million invocations. */
  perMillionInvocations: number;
  /** Dollars for a million milliseconds of CPU time. */
  perMillionCpuMs: number;
}

/** What Cloudflare's Workers Paid takes for what goes beyond what the plan includes. */
export function cloudflareRates(): Rates {
  const plans = priceSheets().sheets.flatMap(({ plans }) => plans);
  const prices = plans.find(({ id }) => id === "cloudflare-workers-paid")?.prices ?? [];
  const perMillion = (of: "invocations" | "cpu_time"): number => {
    const price = prices.find(({ meter }) => meter.of === of);
    if (!price) throw new Error(`The price sheet has no price of ${of}`);
    return (Number(price.tiers.at(-1)?.usd) * 1e6) / price.per;
  };
  return {
    perMillionInvocations: perMillion("invocations"),
    perMillionCpuMs: perMillion("cpu_time"),
  };
}

/**
 * In dollars. Worked out from whole counts each time, and never added up. Without anything that is free or
 * graded, so that the costs of an account's scripts add up to the account's.
 */
export const costOf = (invocations: number, cpuTimeUs: number, rates: Rates): number =>
  (invocations * rates.perMillionInvocations + (cpuTimeUs / 1000) * rates.perMillionCpuMs) / 1e6;
