import type { Sums } from "../rows.ts";
import { add, divideUp, multiply, parseDecimal, whole, ZERO, type Fraction } from "./money.ts";
import type { Meter, StorageKind } from "./sheet.ts";

/** Invocations that one trigger has caused. */
export interface UsedByTrigger extends Pick<
  Sums,
  "invocations" | "wall_time_ms" | "cpu_time_ms" | "response_bytes" | "operations"
> {
  trigger?: string;
}

/** Bytes times the share of the month for which they were held. */
export type ByteMonths = Partial<Record<StorageKind, Fraction>>;

/** How much there is of what the meter counts; each invocation has so much memory. */
export function quantityOf(
  meter: Meter,
  rows: readonly UsedByTrigger[],
  storage: ByteMonths,
  memoryMb: number,
): Fraction {
  switch (meter.of) {
    case "invocations": {
      const { triggers } = meter;
      const counted = triggers ? rows.filter((row) => isAmong(triggers, row)) : rows;
      return sum(counted, ({ invocations }) => whole(invocations));
    }
    case "gb_seconds": {
      const { round_up_to_ms, minimum_ms = 1, round_up_to_mb = 1 } = meter;
      const mb = Math.ceil(memoryMb / round_up_to_mb) * round_up_to_mb;
      const ms = sum(rows, (row) => billedMs(row, round_up_to_ms, minimum_ms));
      return multiply(ms, { n: BigInt(mb), d: 1024n * 1000n });
    }
    case "seconds": {
      const ms = sum(rows, (row) => billedMs(row, meter.round_up_to_ms, 1));
      return multiply(multiply(ms, parseDecimal(meter.times)), { n: 1n, d: 1000n });
    }
    case "cpu_time":
      return sum(rows, ({ cpu_time_ms }) => ({
        n: BigInt(Math.round(cpu_time_ms * 1000)),
        d: 1000n,
      }));
    case "response_bytes":
      return sum(
        rows.filter((row) => isAmong(["fetch"], row)),
        ({ response_bytes }) => whole(response_bytes),
      );
    case "operations": {
      const { names, times = 1 } = meter;
      const calls = sum(rows, ({ operations }) =>
        whole(names.reduce((count, name) => count + (operations[name] ?? 0), 0)),
      );
      return multiply(calls, whole(times));
    }
    case "storage":
      return meter.kinds.map((kind) => storage[kind] ?? ZERO).reduce(add, ZERO);
    case "month":
      return whole(1);
    case "not_counted":
      return ZERO;
  }
}

const sum = <T>(of: readonly T[], quantity: (one: T) => Fraction): Fraction =>
  of.map(quantity).reduce(add, ZERO);

const isAmong = (triggers: string[], { trigger }: UsedByTrigger): boolean =>
  trigger !== undefined && triggers.includes(trigger);

/**
 * Providers round up each invocation's time. Here only sums are known, so those of one row count as if all had
 * taken as long as their mean. The true sum is between the same two bounds: not less than their time nor than so
 * many steps, and less than their time and so many steps.
 */
function billedMs(
  { invocations, wall_time_ms }: UsedByTrigger,
  stepMs: number,
  minimumMs: number,
): Fraction {
  if (invocations === 0) return ZERO;
  const count = BigInt(invocations);
  const step = BigInt(stepMs);
  const each = divideUp(BigInt(Math.ceil(wall_time_ms)), count * step) * step;
  const least = divideUp(BigInt(minimumMs), step) * step;
  return { n: count * (each > least ? each : least), d: 1n };
}
