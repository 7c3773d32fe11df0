import { readFileSync } from "node:fs";
import { childrenOf } from "./memory-usage.ts";

// Of the kernel's interface, whatever the kernel's own clock: `getconf CLK_TCK`.
const TICKS_PER_SECOND = 100;
// Counted behind the name, which is in parentheses and may hold anything: utime is the 14th of all.
const UTIME = 11;

/**
 * CPU time in milliseconds that the process's first thread has used, in which workerd runs all JavaScript;
 * not what the engine does beside it, such as collecting garbage. Undefined if the process is gone.
 */
export function cpuTimeOf(pid: number): number | undefined {
  return readStat(`/proc/${pid}/task/${pid}/stat`);
}

/** CPU time in seconds that the process has used, with the processes that it has started. */
export function cpuSecondsOfAll(pid: number): number | undefined {
  const ms = readStat(`/proc/${pid}/stat`);
  if (ms === undefined) return undefined;
  return childrenOf(pid).reduce((sum, id) => sum + (cpuSecondsOfAll(id) ?? 0), ms / 1000);
}

function readStat(path: string): number | undefined {
  let stat: string;
  try {
    stat = readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[UTIME]) + Number(fields[UTIME + 1])) * 1000) / TICKS_PER_SECOND;
}
