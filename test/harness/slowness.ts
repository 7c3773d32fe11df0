import { availableParallelism, loadavg } from "node:os";

/**
 * By how much others slow this machine down, from 1: a test that keeps all cores busy has up to two threads
 * waiting for each.
 */
export const slowness = (): number =>
  Math.max(1, (loadavg()[0] as number) / (2 * availableParallelism()));
