import type { Machine } from "./sheet.ts";

/** What a machine costs by the month, whatever it does. */
export type MachinePrice = Pick<Machine, "name" | "per_month" | "currency">;

const SIGNS: Record<string, Machine["currency"]> = { "€": "EUR", $: "USD", EUR: "EUR", USD: "USD" };

/** One of the sheets' by its id, or a price such as "5EUR", "€5", "$12.50" or "12.50"; undefined if it is none. */
export function parseMachine(text: string, known: Machine[]): MachinePrice | undefined {
  const found = known.find(({ id }) => id === text);
  if (found) return found;
  const [, before, per_month, after] =
    /^([€$]?)(\d{1,9}(?:\.\d{1,2})?) ?(EUR|USD|€|\$)?$/i.exec(text) ?? [];
  if (per_month === undefined || (before && after)) return undefined;
  const currency = SIGNS[(before || after || "USD").toUpperCase()];
  return currency && { name: "this machine", per_month, currency };
}
