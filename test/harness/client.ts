import { Agent, request, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";

/** How a call went. */
export interface Call {
  /** Milliseconds of the epoch. */
  startedAt: number;
  endedAt: number;
  /** 0: the connection ended without an answer, or none could be made. */
  status: number;
  /** The answer's text, or why there is none. */
  text: string;
  /** The platform's code for its own errors. */
  code: string | undefined;
  /**
   * The process that was called, from the ids of its invocations; undefined over a connection on which
   * no worker has said it yet.
   */
  process: string | undefined;
}

export interface ClientRequest {
  method?: string;
  path?: string;
  headers?: Record<string, string>;
  body?: string;
}

/** A connection was silent for so long: what waits on it has been forgotten. */
const SILENT_MS = 45_000;

/** Calls one host over one connection that is kept, as browsers and proxies do. */
export class Client {
  readonly #agent: Agent;
  readonly #host: string;
  readonly #port: number;
  // Connections lead to the same process for as long as they last.
  readonly #processes = new WeakMap<Socket, string>();

  /** `keepAlive: false`: every call makes a connection of its own. */
  constructor(port: number, host: string, keepAlive = true) {
    this.#port = port;
    this.#host = host;
    this.#agent = new Agent({ keepAlive, maxSockets: keepAlive ? 1 : Infinity });
  }

  /** Never rejects. */
  call({ method = "GET", path = "/", headers = {}, body }: ClientRequest = {}): Promise<Call> {
    const startedAt = Date.now();
    const agent = this.#agent;
    const target = { host: "127.0.0.1", port: this.#port, agent, method, path };
    return new Promise((resolve) => {
      const outgoing = request({
        ...target,
        headers: {
          host: `${this.#host}:${this.#port}`,
          ...(body !== undefined && { "content-length": String(Buffer.byteLength(body)) }),
          ...headers,
        },
        timeout: SILENT_MS,
      });
      let socket: Socket | undefined;
      const over = (status: number, text: string, response?: IncomingMessage): void => {
        const ray = response?.headers["cf-ray"];
        if (socket && typeof ray === "string") this.#processes.set(socket, ray.slice(0, 8));
        const code = response?.headers["mayfly-error"] as string | undefined;
        const process = socket && this.#processes.get(socket);
        resolve({ startedAt, endedAt: Date.now(), status, text, code, process });
      };
      outgoing.once("socket", (used) => (socket = used));
      outgoing.once("timeout", () => outgoing.destroy(new Error("no answer")));
      outgoing.on("error", ({ message }) => over(0, message));
      outgoing.once("response", (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (piece: string) => (text += piece));
        response.once("error", ({ message }) => over(0, message));
        response.once("end", () => over(response.statusCode ?? 0, text, response));
      });
      outgoing.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
