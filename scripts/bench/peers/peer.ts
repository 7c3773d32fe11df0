import type { Stage, Target } from "../stage.ts";

/** Something that serves functions, as a user would start it. */
export interface Peer {
  name: string;
  /** Whether the bench goes on without it if it does not work. */
  optional?: boolean;
  /** Starts it with one function and resolves when that has answered. */
  start(stage: Stage): Promise<Started>;
  /** Whether each further function needs all that the first does, in a process of its own. */
  processEach?: boolean;
  /** The same with further functions that nobody has called. */
  startMany?(stage: Stage, count: number): Promise<Many>;
}

export interface Started extends Target {
  /** The process that has started all others. */
  pid: number;
  /** From the start to the first answer. */
  startMs: number;
}

export interface Many {
  port: number;
  /** One to each further function. */
  requests: Buffer[];
  /** The process that holds the functions. */
  pid: number;
}

/** Starts a process and measures how long it takes to the first answer. */
export async function timed(stage: Stage, target: Target, spawn: () => number): Promise<Started> {
  const begun = performance.now();
  const pid = spawn();
  await stage.untilAnswered(target);
  return { ...target, pid, startMs: performance.now() - begun };
}
