// More than any machine can address.
const IMPOSSIBLE_BYTES = 2 ** 46;

/**
 * Has the engine collect all garbage of this process's platform isolate, and give the memory back.
 * It would do so by itself only when more is allocated, so a process that falls silent would keep
 * what its last thousands of invocations left: some ten kilobytes each. There is no call for it, but
 * before the engine refuses an allocation it first looks for memory everywhere. Takes a tenth of a
 * second, so only for when nothing runs.
 */
export function collectGarbage(): void {
  try {
    void new ArrayBuffer(IMPOSSIBLE_BYTES);
  } catch {
    // As expected.
  }
}
