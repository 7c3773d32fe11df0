import type { Month } from "../prices/month.ts";
import type { Fraction } from "../prices/money.ts";

/** What is held from a time on (milliseconds since 1970), until the next sample. */
export interface Held {
  at: number;
  bytes: number;
}

/** Bytes times the share of the month for which they were held until now; the samples are in order. */
export function byteMonthsOf(samples: Held[], { from, to }: Month, now: number): Fraction {
  let sum = 0n;
  for (const [index, { at, bytes }] of samples.entries()) {
    const until = Math.min(samples[index + 1]?.at ?? to, to, now);
    sum += BigInt(Math.max(0, until - Math.max(at, from))) * BigInt(bytes);
  }
  return { n: sum, d: BigInt(to - from) };
}
