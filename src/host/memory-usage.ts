import { readFileSync } from "node:fs";

/**
 * Memory in bytes that is the process's own: not what it shares with files, which the kernel can take
 * back. Undefined if the process is gone.
 */
export function memoryOf(pid: number): number | undefined {
  let status: string;
  try {
    status = readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return undefined;
  }
  const kib = /^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1];
  return kib === undefined ? undefined : Number(kib) * 1024;
}

/** The same, together with the processes that it has started. */
export function memoryOfAll(pid: number): number | undefined {
  const own = memoryOf(pid);
  if (own === undefined) return undefined;
  return childrenOf(pid).reduce((sum, id) => sum + (memoryOfAll(id) ?? 0), own);
}

/** The processes that the process has started. */
export function childrenOf(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
    return children.split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}
