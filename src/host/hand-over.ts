import { readdirSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const LET_RUN_MS = 3;
/** Longer and longer, as long as new clients come all the same. */
const HOLD_STILL_MS = 20;
const MAX_HOLD_STILL_MS = 80;
/** What a client may need from its connection to its request. */
const QUIET_MS = 600;
const GIVE_UP_AFTER_MS = 5_000;

/**
 * Has a process that is about to be told to end go on with clients that have just connected, and leave
 * new ones to others that accept from the same socket. workerd drops clients that are still shaking
 * hands or have sent nothing, and cannot be told to stop accepting alone; but one that runs for moments only
 * finds next to no new clients, and is left standing still when it has found none for a while.
 */
export async function handOver(
  pid: number,
  signal: (signal: NodeJS.Signals) => void,
): Promise<void> {
  const begun = performance.now();
  let quietSince = begun;
  let known = socketsOf(pid);
  for (let now = begun; now - quietSince < QUIET_MS && now - begun < GIVE_UP_AFTER_MS;) {
    signal("SIGCONT");
    await sleep(LET_RUN_MS);
    signal("SIGSTOP");
    await sleep(Math.min(MAX_HOLD_STILL_MS, HOLD_STILL_MS + (now - begun) / 50));
    now = performance.now();
    const sockets = socketsOf(pid);
    if ([...sockets].some((socket) => !known.has(socket))) quietSince = now;
    known = sockets;
  }
}

/** The process's sockets. Empty where there is no /proc: then it only takes its time. */
function socketsOf(pid: number): Set<string> {
  const folder = `/proc/${pid}/fd`;
  const sockets = new Set<string>();
  try {
    for (const fd of readdirSync(folder)) {
      const target = readlinkSync(`${folder}/${fd}`);
      if (target.startsWith("socket:")) sockets.add(target);
    }
  } catch {
    // Gone, or not to be read.
  }
  return sockets;
}
