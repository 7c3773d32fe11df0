import { request } from "node:http";
import type { Platform } from "./platform.ts";

/** What a worker, or the platform in its place, answered. */
export interface WorkerAnswer {
  /** 0: the connection was closed without an answer. */
  status: number;
  text: string;
  /** Of the platform's error page. */
  code: string | undefined;
  retryAfter: string | undefined;
}

/** Calls a worker, of the default account unless another subdomain is given, over a connection of its own. */
export function callWorker(
  platform: Platform,
  name: string,
  path: string,
  subdomain = "dev",
): Promise<WorkerAnswer> {
  return new Promise((resolve) => {
    const { port } = platform;
    const headers = { host: `${name}.${subdomain}.localhost:${port}` };
    const req = request({ host: "127.0.0.1", port, path, headers, agent: false }, (res) => {
      let text = "";
      res.setEncoding("utf8").on("data", (piece: string) => (text += piece));
      const done = (status: number): void =>
        resolve({
          status,
          text,
          code: res.headers["mayfly-error"] as string | undefined,
          retryAfter: res.headers["retry-after"],
        });
      res.once("error", () => done(0));
      res.once("end", () => done(res.statusCode ?? 0));
    });
    const none = { status: 0, text: "", code: undefined, retryAfter: undefined };
    req.once("error", () => resolve(none));
    req.end();
  });
}

/** Makes the call again if its connection was one to a process that has just been ended. */
export async function retried<T>(call: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await call();
    } catch (error) {
      if (tries === 5 || !(error instanceof TypeError)) throw error;
    }
  }
}
