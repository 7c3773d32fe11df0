import { callApi } from "./call-api.ts";
import { HostError } from "./host-error.ts";
import { pricesToText, type PricesResult } from "./prices-text.ts";
import type { Settings } from "./settings.ts";

/** As typed; what is allowed the API says. */
export interface PricesOptions {
  month?: string | undefined;
  machine?: string | undefined;
  "free-tier"?: boolean | undefined;
  json?: boolean | undefined;
}

const OPTIONS = ["prices", "month", "machine", "free-tier", "json"];

/** `mayfly usage --prices`: what the default account's month would have cost elsewhere, as text or as JSON. */
export async function showPrices(settings: Settings, options: PricesOptions): Promise<void> {
  const other = Object.keys(options).find((option) => !OPTIONS.includes(option));
  if (other) throw new HostError(`--${other}: --prices are those of a whole month, see --month`);
  const { month, machine, json, "free-tier": freeTier = true } = options;
  const query = new URLSearchParams({
    ...(month !== undefined && { month }),
    ...(machine !== undefined && { machine }),
    free_tier: String(freeTier),
  });
  const prices = await callApi<PricesResult>(settings, "GET", `/mayfly/usage/prices?${query}`);
  process.stdout.write(json ? `${JSON.stringify(prices, null, 2)}\n` : pricesToText(prices));
}
