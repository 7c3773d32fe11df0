/**
 * Rows of the catalog that every call of a binding needs, remembered for some seconds. Who changes
 * or deletes a row forgets it at once here; other places that remember it (at the edge there are
 * many) find out when it is too old.
 */
const MAX_AGE_MS = 5_000;
const MAX_ROWS = 10_000;

export class Recent<T> {
  readonly #rows = new Map<string, { value: T; expiresAt: number }>();
  // Grows with each change, so that what was found before one is not remembered after it.
  #changes = 0;

  /** The remembered value, or the one found now. That there is none is not remembered. */
  async get(key: string, find: () => Promise<T | undefined>): Promise<T | undefined> {
    const known = this.#rows.get(key);
    if (known && known.expiresAt > Date.now()) return known.value;
    const changes = this.#changes;
    const value = await find();
    this.#rows.delete(key);
    if (value === undefined || changes !== this.#changes) return value;
    if (this.#rows.size >= MAX_ROWS) this.#rows.clear();
    this.#rows.set(key, { value, expiresAt: Date.now() + MAX_AGE_MS });
    return value;
  }

  forget(key: string): void {
    this.#changes++;
    this.#rows.delete(key);
  }
}
