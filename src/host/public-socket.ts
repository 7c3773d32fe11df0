import { fork } from "node:child_process";
import { join } from "node:path";
import { HostError } from "./host-error.ts";
import type { Settings } from "./settings.ts";

/** The open socket, which all executors accept from. What refers to it keeps it open. */
export interface PublicSocket {
  /** Its descriptor. */
  readonly fd: number;
  close(): void;
}

/**
 * Opens the public socket. As long as this process has it, connections wait while executors are
 * replaced. Throws a `HostError` that says why it cannot be opened.
 */
export function openPublicSocket({ bind, port }: Settings): Promise<PublicSocket> {
  const child = fork(join(import.meta.dirname, "bind-port.ts"), [bind, String(port)], {
    execArgv: [],
  });
  return new Promise((resolve, reject) => {
    const fail = (reason: string): void => reject(new HostError(`PORT: ${reason}`));
    child.once("error", ({ message }) => fail(`${port} cannot be opened: ${message}`));
    child.once("exit", (code) => fail(`${port} cannot be opened: exit code ${code}`));
    child.once("message", ({ code, message }: NodeJS.ErrnoException, handle?: unknown) => {
      if (handle) return resolve(handle as PublicSocket);
      const reasons: Record<string, string> = {
        EADDRINUSE: `PORT: ${port} on ${bind} is taken; stop what listens there or choose another port`,
        EACCES: `PORT: ${port} may not be opened by this user; choose one from 1024`,
        EADDRNOTAVAIL: `MAYFLY_BIND: ${bind} is not an address of this machine`,
      };
      reject(new HostError(reasons[code ?? ""] ?? `PORT: ${port} cannot be opened: ${message}`));
    });
  });
}
