import { receive } from "./forward.ts";

/** State is back after a crash well within this time, on a busy machine as well. */
const PATIENCE_MS = 10_000;
const PAUSE_MS = 50;

/**
 * What state answers to a question that may be asked again: while it is being started, this waits and
 * asks until it answers. `known` says what somebody else has learned meanwhile.
 */
export async function askState<T>(
  ask: () => Promise<T>,
  known: () => { value: T } | undefined = () => undefined,
): Promise<T> {
  for (const deadline = Date.now() + PATIENCE_MS; ;) {
    try {
      return await receive(ask());
    } catch (error) {
      if (Date.now() > deadline) throw error;
      // Not all who wait at the same moment.
      await scheduler.wait(PAUSE_MS * (0.5 + Math.random()));
      const learned = known();
      if (learned) return learned.value;
    }
  }
}
