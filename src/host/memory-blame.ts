import type { Flight } from "./flight-reader.ts";

/** Who is blamed for so small a part of what the first is blamed for is not suspected. */
const SUSPECTED_FROM = 0.5;

/**
 * Works out which scripts a process's memory has grown by: what it grows by between two looks is divided
 * among those that were at work then. No single look says much, but who eats memory is always there.
 */
export class MemoryBlame {
  readonly #flights = new Map<string, { flight: Flight; bytes: number }>();

  /** The memory has grown while these were in flight. */
  grown(bytes: number, flights: Flight[]): void {
    const flying = flights.filter(({ lingers }) => !lingers);
    const blamed = new Map(
      (flying.length > 0 ? flying : flights).map((flight) => [flight.scriptId, flight]),
    );
    for (const [scriptId, flight] of blamed) {
      const known = this.#flights.get(scriptId)?.bytes ?? 0;
      this.#flights.set(scriptId, { flight, bytes: known + bytes / blamed.size });
    }
  }

  /** Of what there was only this part is left. */
  shrunk(part: number): void {
    for (const [scriptId, entry] of this.#flights) {
      entry.bytes *= part;
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
