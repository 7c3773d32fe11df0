let memory: Record<string, number> = {};

/** Keeps what the supervisor says: the memory of each process in bytes, by its name. */
export function reportMemory(bytes: Record<string, number>): void {
  memory = bytes;
}

/** The same as series of the metrics. */
export const memorySample = (): Record<string, number> =>
  Object.fromEntries(
    Object.entries(memory).map(([name, bytes]) => [
      `mayfly_process_memory_bytes{process="${name}"}`,
      bytes,
    ]),
  );
