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

/** The bills one below the other, each line that has anything, with the machine's own price beside them. */
export function pricesToText(result: PricesResult): string {
  const { month, until, free_tier, bills, machine, machines } = result;
  const end = until.slice(0, "2026-11-01T12:30".length).replace("T", " ");
  const tiers = free_tier ? "with" : "without";
  const lines = [`What ${month} until ${end} UTC would have cost, ${tiers} free tiers\n`];
  for (const bill of bills) lines.push(...billLines(bill), "");
  lines.push("A machine costs the same when nothing runs, by the month:");
  lines.push(toTable((machine ? [machine] : machines).map(machineRow), 1));
  lines.push("\nWhat is not compared, and where prices come from: docs/usage.md, --json");
  return `${lines.join("\n")}\n`;
}

function billLines({ name, lines, usd, exceeded, not_counted }: Bill): string[] {
  const used = lines.filter((line) => Number(line.used) > 0);
  const rows = used.map((line) => [
    `  ${line.name}`,
    `${number(line.used)} used`,
    `${number(line.billed)} billed`,
    line.unit,
    money(line.usd),
  ]);
  return [
    toTable([...rows, [name, "", "", "", money(usd)]], 1),
    ...exceeded.map((limit) => `  would have refused some: ${limit}`),
    ...(not_counted.length > 0 ? [`  not counted: ${not_counted.join(", ")}`] : []),
  ];
}

const machineRow = ({ name, per_month, currency, ...rest }: MachinePrice | Machine): string[] => [
  `  ${"id" in rest ? `${rest.id}: ` : ""}${name}`,
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
