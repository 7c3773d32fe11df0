/**
 * Work that goes on while the test does something else and that is awaited later. Should it fail before that, it
 * fails the test that awaits it and not, as unhandled rejections do, the whole suite.
 */
export function meanwhile<T>(work: Promise<T>): Promise<T> {
  work.catch(() => undefined);
  return work;
}
