/**
 * Money in trillionths of a dollar, as whole numbers: a millisecond at 128 MB costs about two thousand of them,
 * and no sum of them is ever off by a cent.
 */
export type Picos = bigint;

const DECIMALS = 12;

/** An exact fraction; the denominator is positive. */
export interface Fraction {
  n: bigint;
  d: bigint;
}

export const ZERO: Fraction = { n: 0n, d: 1n };

export const whole = (number: number): Fraction => ({ n: BigInt(number), d: 1n });

export const add = (a: Fraction, b: Fraction): Fraction =>
  // Or many of them would make it long.
  a.d === b.d ? { n: a.n + b.n, d: a.d } : { n: a.n * b.d + b.n * a.d, d: a.d * b.d };

export const multiply = (a: Fraction, b: Fraction): Fraction => ({ n: a.n * b.n, d: a.d * b.d });

/** What is left of it, nothing if it is less than what is taken away. */
export function subtract(from: Fraction, what: Fraction): Fraction {
  const n = from.n * what.d - what.n * from.d;
  return n > 0n ? { n, d: from.d * what.d } : ZERO;
}

export const least = (a: Fraction, b: Fraction): Fraction => (a.n * b.d < b.n * a.d ? a : b);

export const divideUp = (n: bigint, d: bigint): bigint => (n + d - 1n) / d;

/** Of what is not negative; halves go up. */
const round = ({ n, d }: Fraction): bigint => (2n * n + d) / (2n * d);

/** A decimal number as text, such as "0.0000166667", which no floating point number is exactly. */
export function parseDecimal(text: string): Fraction {
  const [units = "", decimals = ""] = text.split(".");
  return { n: BigInt(units + decimals), d: 10n ** BigInt(decimals.length) };
}

/** So much of something, of which one costs so many dollars. */
export const cost = (quantity: Fraction, dollars: Fraction): Picos =>
  round(multiply(multiply(quantity, dollars), { n: 10n ** BigInt(DECIMALS), d: 1n }));

/** With so many decimals; halves go up. */
export function toFixed(fraction: Fraction, decimals: number): string {
  const digits = round(multiply(fraction, { n: 10n ** BigInt(decimals), d: 1n }))
    .toString()
    .padStart(decimals + 1, "0");
  const point = digits.length - decimals;
  return decimals === 0 ? digits : `${digits.slice(0, point)}.${digits.slice(point)}`;
}

const fraction = (picos: Picos): Fraction => ({ n: picos, d: 10n ** BigInt(DECIMALS) });

/** In dollars and cents, as on a bill. */
export const toCents = (picos: Picos): string => toFixed(fraction(picos), 2);

/** In dollars, with all that is known. */
export const toDollars = (picos: Picos): string =>
  toFixed(fraction(picos), DECIMALS).replace(/(\.\d\d\d*?)0+$/, "$1");
