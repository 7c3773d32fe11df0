const FIRST_PAUSE_MS = 60_000;
const MAX_PAUSE_MS = 60 * 60_000;
/** A database without an offence for so long after its pause begins anew. */
const FORGOTTEN_AFTER_MS = 60 * 60_000;

interface Offences {
  count: number;
  pausedUntil: number;
}

/**
 * Keeps databases that stall their shard again and again from taking all others' time: from the second
 * time on they pause, each time for twice as long.
 */
export class Penalties {
  readonly #offences = new Map<string, Offences>();

  /** The database has stalled its shard. How long it pauses now, in milliseconds. */
  add(database: string): number {
    const known = this.#offences.get(database);
    const now = Date.now();
    const isOld = known === undefined || now > known.pausedUntil + FORGOTTEN_AFTER_MS;
    const count = isOld ? 1 : known.count + 1;
    const pauseMs = count === 1 ? 0 : Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (count - 2));
    this.#offences.set(database, { count, pausedUntil: now + pauseMs });
    return pauseMs;
  }

  /** Until when which databases pause. */
  paused(): Record<string, number> {
    const now = Date.now();
    const paused = [...this.#offences].filter(([, { pausedUntil }]) => pausedUntil > now);
    return Object.fromEntries(paused.map(([database, { pausedUntil }]) => [database, pausedUntil]));
  }
}
