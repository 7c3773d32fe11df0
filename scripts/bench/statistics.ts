/** The value below which the given share of the values lies. */
export function quantile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  if (value === undefined) throw new RangeError("values: must not be empty");
  return value;
}

export const median = (values: number[]): number => quantile(values, 0.5);

/** The median of the rounds' ratios: what disturbs a round disturbs both sides of its ratio. */
export function medianRatio(values: number[], references: number[]): number {
  return median(values.map((value, round) => value / (references[round] ?? Number.NaN)));
}

/** Measures each of the names once per round, in turn. */
export async function alternate<N extends string, T>(
  rounds: number,
  names: readonly N[],
  measure: (name: N) => Promise<T>,
): Promise<Record<N, T[]>> {
  const values = Object.fromEntries(names.map((name) => [name, [] as T[]])) as Record<N, T[]>;
  for (let round = 0; round < rounds; round++) {
    for (const name of names) values[name].push(await measure(name));
  }
  return values;
}
