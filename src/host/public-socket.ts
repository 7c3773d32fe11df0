import { fork, spawnSync } from "node:child_process";
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { join } from "node:path";
import { platform } from "node:process";
import { HostError } from "./host-error.ts";
import { log } from "./log.ts";
import type { Settings } from "./settings.ts";

/** The open socket, which all executors accept from. What refers to it keeps it open. */
export interface PublicSocket {
  /** Its descriptor. */
  readonly fd: number;
  /** Whether clients are accepted only once they have sent something. */
  readonly defersAccept: boolean;
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
      if (handle) {
        const socket = handle as { fd: number; close(): void };
        const { fd } = socket;
        return resolve({ fd, defersAccept: deferAccept(fd), close: () => socket.close() });
      }
      const reasons: Record<string, string> = {
        EADDRINUSE: `PORT: ${port} on ${bind} is taken; stop what listens there or choose another port`,
        EACCES: `PORT: ${port} may not be opened by this user; choose one from 1024`,
        EADDRNOTAVAIL: `MAYFLY_BIND: ${bind} is not an address of this machine`,
      };
      reject(new HostError(reasons[code ?? ""] ?? `PORT: ${port} cannot be opened: ${message}`));
    });
  });
}

/** Browsers, for one, open connections that they may not need. */
const DEFER_SECONDS = 5;

/**
 * Has clients accepted only once they have sent something: what workerd has accepted and read nothing from, it
 * drops when it is told to end. What has not been accepted by then is left to others.
 */
function deferAccept(fd: number): boolean {
  if (platform !== "linux") return false;
  const script = join(import.meta.dirname, "defer-accept.pl");
  const { error, status, stderr } = spawnSync("perl", [script, String(DEFER_SECONDS)], {
    stdio: ["ignore", "ignore", "pipe", fd],
    encoding: "utf8",
  });
  if (status === 0) return true;
  log("info", "accept_not_deferred", { reason: error?.message ?? stderr.trim() });
  return false;
}

const ANSWER_WITHIN_MS = 5_000;

/** Status and body of what is answered on the public socket. Rejects if nobody answers. */
export function askPublicSocket({ bind, port, tls }: Settings, path: string): Promise<string> {
  // No certificate names this address; nothing is sent that others must not know.
  const request = tls ? requestHttps : requestHttp;
  const options = {
    host: { "0.0.0.0": "127.0.0.1", "::": "::1" }[bind] ?? bind,
    port,
    path,
    agent: false,
    rejectUnauthorized: false,
    signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
  };
  return new Promise((resolve, reject) => {
    const asked = request(options, (response) => {
      let text = `${response.statusCode} `;
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.once("end", () => resolve(text)).once("error", reject);
    });
    asked.once("error", reject).end();
  });
}
