/**
 * What another call has answered, to be returned as one's own answer. Every object that comes by RPC
 * has a disposer; passed on with it, it would keep this call open until whoever receives it disposes
 * it, which users' code never does. The result may hold values and streams, no stubs.
 */
export async function forward<T>(answer: Promise<T>): Promise<T> {
  const result = await answer;
  if (typeof result === "object" && result !== null) {
    delete (result as Partial<Disposable>)[Symbol.dispose];
  }
  return result;
}

/**
 * What another call has answered, to be kept or only looked at: closes the call at once, which holds
 * memory until then. The result may hold values, no streams and no stubs.
 */
export async function receive<T>(answer: Promise<T>): Promise<T> {
  const result = await answer;
  if (typeof result === "object" && result !== null) {
    (result as Partial<Disposable>)[Symbol.dispose]?.();
  }
  return result;
}
