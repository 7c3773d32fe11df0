/**
 * Why a process had to be started again: it used too much CPU time or memory, did not answer, ended by itself
 * (or others ended it), or was replaced by a new one while it served.
 */
export type RestartReason = "cpu" | "memory" | "stalled" | "crash" | "replaced";

const counts = new Map<string, Record<RestartReason, number>>();

/** How often processes of the name were started again, by reason. */
export function restartsOf(name: string): Record<RestartReason, number> {
  let known = counts.get(name);
  if (!known) counts.set(name, (known = { cpu: 0, memory: 0, stalled: 0, crash: 0, replaced: 0 }));
  return known;
}

export function countRestart(name: string, reason: RestartReason): void {
  restartsOf(name)[reason]++;
}
