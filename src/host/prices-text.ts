import type { Bill } from "../usage/prices/bill.ts";
import type { MachinePrice } from "../usage/prices/machine.ts";
import { cost, parseDecimal, toCents, whole } from "../usage/prices/money.ts";
import type { Machine } from "../usage/prices/sheet.ts";
import type { Sums } from "../usage/rows.ts";
import { toTable } from "./table.ts";

/** What the API answers. */
export interface PricesResult {
  month: string;
  until: string;
  free_tier: boolean;
  usage: Sums;
  bills: Bill[];
  machine?: MachinePrice;
  machines: Machine[];
}

/** All that it would have cost, side by side, and how each bill comes about. */
export function pricesToText(result: PricesResult): string {
  const { month, until, free_tier, bills, machine, machines } = result;
  const end = until.slice(0, "2026-11-01T12:30".length).replace("T", " ");
  const tiers = free_tier ? "with" : "without";
  const totals = bills.map(({ name, usd, exceeded }) => [
    name,
    exceeded.length > 0 ? "would have refused some" : money(usd),
  ]);
  const rows = [...totals, ...(machine ? [machine] : machines).map(machineRow)];
  const parts = [
    `What ${month} until ${end} UTC would have cost, ${tiers} free tiers`,
    toTable(rows, 1),
    ...bills.map(billText),
    "What is not compared, and where prices come from: docs/usage.md, --json",
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

/** Its lines that have anything; empty if there are none. */
function billText({ name, lines, exceeded, not_counted }: Bill): string {
  const used = lines.filter((line) => Number(line.used) > 0);
  if (used.length === 0 && exceeded.length === 0) return "";
  const rows = used.map((line) => [
    `  ${line.name}`,
    `${number(line.used)} used`,
    `${number(line.billed)} billed`,
    line.unit,
    money(line.usd),
  ]);
  return [
    name,
    ...(rows.length > 0 ? [toTable(rows, 1)] : []),
    ...exceeded.map((limit) => `  over its limit: ${limit}`),
    ...(not_counted.length > 0 ? [`  not counted: ${not_counted.join(", ")}`] : []),
  ].join("\n");
}

const machineRow = ({ name, per_month, currency, ...rest }: MachinePrice | Machine): string[] => [
  `${"id" in rest ? `${name} (${rest.id})` : name}, whatever runs`,
  `${per_month} ${currency}`,
];

const number = (text: string): string =>
  Number(text).toLocaleString("en-US", { maximumFractionDigits: 6 });

/** In cents; what is less than one, but something, with the digits that say so. */
function money(usd: string): string {
  const cents = toCents(cost(whole(1), parseDecimal(usd)));
  if (cents !== "0.00" || Number(usd) === 0) return `$${cents}`;
  return `$${Number(usd).toLocaleString("en-US", { maximumSignificantDigits: 2 })}`;
}
