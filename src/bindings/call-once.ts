/**
 * Makes one call on a target that another role has handed out, in the same round trip, and lets go
 * of the target: what is left to the garbage collector is reported as not disposed. The result may
 * hold values and streams, no stubs.
 */
export async function callOnce<Target, T>(
  target: Target,
  call: (target: Target) => Promise<T>,
): Promise<T> {
  using held = target as Target & Disposable;
  const result = await call(held);
  // Every object that comes by RPC can be disposed. Passed on as it is, it would keep this call's
  // context alive until whoever receives it disposes it, which users' code never does.
  if (typeof result === "object" && result !== null) {
    delete (result as Partial<Disposable>)[Symbol.dispose];
  }
  return result;
}
