import { MEMORY_MB } from "../rows.ts";
import {
  cost,
  divideUp,
  least,
  multiply,
  parseDecimal,
  subtract,
  toDollars,
  toFixed,
  whole,
  ZERO,
  type Fraction,
  type Picos,
} from "./money.ts";
import { quantityOf, type ByteMonths, type UsedByTrigger } from "./quantity.ts";
import type { Limit, Plan, Price, Sheet } from "./sheet.ts";

/** What was used in a month. */
export interface MonthUsage {
  /** By script and trigger, or coarser. */
  rows: readonly UsedByTrigger[];
  /** The same by day and trigger. */
  days: readonly (UsedByTrigger & { day?: string })[];
  storage: ByteMonths;
}

export interface BillOptions {
  /** Whether what a free tier gives is taken away; true by default. */
  freeTier?: boolean | undefined;
  /** What each invocation has: that of an isolate by default. */
  memoryMb?: number | undefined;
}

/** Numbers as text, since they are exact; money in dollars. */
export interface BillLine {
  name: string;
  unit: string;
  /** In units. */
  used: string;
  /** What is left of it to pay for. */
  billed: string;
  usd: string;
}

export interface Bill {
  id: string;
  name: string;
  lines: BillLine[];
  usd: string;
  /** What the plan would have refused; nothing if it fits. */
  exceeded: string[];
  /** What the provider bills and is not counted here. */
  not_counted: string[];
}

const QUANTITY_DECIMALS = 6;

/** What the month's usage would have cost on the plan. */
export function toBill(
  { prices: common }: Pick<Sheet, "prices">,
  { id, name, prices, limits = [] }: Plan,
  usage: MonthUsage,
  { freeTier = true, memoryMb = MEMORY_MB }: BillOptions = {},
): Bill {
  const all = [...prices, ...common];
  const counted = all.filter(({ meter }) => meter.of !== "not_counted");
  const lines: BillLine[] = [];
  let total: Picos = 0n;
  for (const price of counted) {
    const used = quantityOf(price.meter, usage.rows, usage.storage, memoryMb);
    const billed = billedOf(price, used, freeTier);
    const amount = amountFor(price, billed);
    total += amount;
    const inUnits = (quantity: Fraction): string =>
      toFixed(multiply(quantity, perUnit(price)), QUANTITY_DECIMALS).replace(/\.?0+$/, "");
    lines.push({
      name: price.name,
      unit: price.unit,
      used: inUnits(used),
      billed: inUnits(billed),
      usd: toDollars(amount),
    });
  }
  return {
    id,
    name,
    lines,
    usd: toDollars(total),
    exceeded: limits.flatMap((limit) => exceeded(limit, usage, memoryMb)),
    not_counted: all.filter((price) => !counted.includes(price)).map((price) => price.name),
  };
}

const perUnit = ({ per }: Price): Fraction => ({ n: 1n, d: BigInt(per) });

/** What is to be paid for. */
function billedOf(price: Price, used: Fraction, freeTier: boolean): Fraction {
  const { per, included = 0, free = 0, whole_units } = price;
  const billed = subtract(used, whole(included + (freeTier ? free : 0)));
  if (!whole_units) return billed;
  const unit = BigInt(per);
  return { n: divideUp(billed.n, billed.d * unit) * unit, d: 1n };
}

function amountFor(price: Price, billed: Fraction): Picos {
  let amount: Picos = 0n;
  let left = billed;
  let from = 0;
  for (const { up_to, usd } of price.tiers) {
    const here = up_to === undefined ? left : least(left, whole(up_to - from));
    amount += cost(multiply(here, perUnit(price)), parseDecimal(usd));
    left = subtract(left, here);
    from = up_to ?? from;
  }
  return amount;
}

/** Whether the plan would have refused some of it, and on which day for the first time. */
function exceeded(
  { name, meter, per, most }: Limit,
  usage: MonthUsage,
  memoryMb: number,
): string[] {
  const quantity = (rows: readonly UsedByTrigger[]): Fraction =>
    quantityOf(meter, rows, usage.storage, memoryMb);
  const isOver = (used: Fraction): boolean => subtract(used, whole(most)).n > 0n;
  const tell = (used: Fraction, where: string): string[] => [
    `${name}: ${toFixed(used, 0)}${where}, at most ${most}`,
  ];
  switch (per) {
    case "month": {
      const used = quantity(usage.rows);
      return isOver(used) ? tell(used, "") : [];
    }
    case "day": {
      for (const day of new Set(usage.days.map((row) => row.day))) {
        const used = quantity(usage.days.filter((row) => row.day === day));
        if (isOver(used)) return tell(used, ` on ${day?.slice(0, "2026-11-01".length)}`);
      }
      return [];
    }
    case "invocation": {
      // Of each only the mean of its kind is known.
      const means = usage.rows
        .filter(({ invocations }) => invocations > 0)
        .map((row) => multiply(quantity([row]), { n: 1n, d: BigInt(row.invocations) }));
      const longest = means.reduce((a, b) => (subtract(a, b).n > 0n ? a : b), ZERO);
      return isOver(longest) ? tell(longest, " in the mean") : [];
    }
  }
}
