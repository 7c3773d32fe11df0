import type { Flight } from "./flight-reader.ts";

/** Who is blamed for so small a part of what the first is blamed for is not suspected. */
const SUSPECTED_FROM = 0.5;
/** Slow growth is dealt with otherwise: what counts is who grew at last, not who has long had much. */
const HALF_LIFE_MS = 1_000;

/**
 * Works out which scripts a process's memory has grown by: what it grows by between two looks is divided
 * among those that were at work then, by the time that they were. No single look says much, but who eats
 * memory is always there.
 */
export class MemoryBlame {
  readonly #flights = new Map<string, { flight: Flight; bytes: number }>();

  /** The memory has grown while these were in flight, between two times in milliseconds since 1970. */
  grown(bytes: number, flights: Flight[], from: number, to: number): void {
    const flying = flights.filter(({ lingers }) => !lingers);
    // Of each script, as one that is called often is not more to blame; at least a millisecond, as more is not known.
    const times = new Map<string, { flight: Flight; ms: number }>();
    for (const flight of flying.length > 0 ? flying : flights) {
      const ms = Math.max(1, Math.min(to, flight.endedAt ?? to) - Math.max(from, flight.since));
      const known = times.get(flight.scriptId)?.ms ?? 0;
      times.set(flight.scriptId, { flight, ms: Math.min(known + ms, to - from) });
    }
    const total = [...times.values()].reduce((sum, { ms }) => sum + ms, 0);
    for (const [scriptId, { flight, ms }] of times) {
      const known = this.#flights.get(scriptId)?.bytes ?? 0;
      this.#flights.set(scriptId, { flight, bytes: known + (bytes * ms) / total });
    }
  }

  /** So much time has passed. */
  fade(ms: number): void {
    for (const [scriptId, entry] of this.#flights) {
      entry.bytes *= 0.5 ** (ms / HALF_LIFE_MS);
      if (entry.bytes < 1) this.#flights.delete(scriptId);
    }
  }

  /** A flight of each script that is suspected. */
  suspects(): Flight[] {
    const all = [...this.#flights.values()];
    const most = Math.max(0, ...all.map(({ bytes }) => bytes));
    return all
      .filter(({ bytes }) => bytes >= most * SUSPECTED_FROM)
      .map(({ flight }) => ({ ...flight, lingers: false }));
  }
}
