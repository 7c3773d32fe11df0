import { forward } from "../roles/forward.ts";

/**
 * Makes one call on a target that another role has handed out, in the same round trip, and lets go
 * of the target: what is left to the garbage collector is reported as not disposed.
 */
export async function callOnce<Target, T>(
  target: Target,
  call: (target: Target) => Promise<T>,
): Promise<T> {
  using held = target as Target & Disposable;
  return await forward(call(held));
}
