import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Platform } from "./platform.ts";

/** Whether a process with this id runs. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** What the platform calls its processes. */
export type ProcessName =
  "state" | "quarantine" | "egress" | `executor-${number | "apart" | "long"}` | `shard-${number}`;

/** Id of the process of the platform that was last started under the name. */
export function pidOf(platform: Platform, name: ProcessName): number {
  const started = platform
    .output()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as { event?: string; process?: string; pid?: number })
    .findLast((line) => line.event === "process_started" && line.process === name);
  if (!started?.pid) throw new Error(`No ${name} process was started`);
  return started.pid;
}

/** Kills all executors, as crashes do. They are started again at once. */
export function killExecutors(platform: Platform): void {
  for (let number = 1; number <= platform.executors; number++) {
    process.kill(pidOf(platform, `executor-${number}`), "SIGKILL");
  }
}

/** Ids of the processes that a process has started. Linux only. */
export function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  return text.split(" ").filter(Boolean).map(Number);
}

/** Memory of a process that is in RAM, in MiB. Linux only. */
export function residentMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

/** Waits until the condition holds, and fails if it does not within the time. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  withinMs: number,
): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Not within ${withinMs} ms: ${condition}`);
    await sleep(25);
  }
}
