import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

// A process that was ended listens again a moment later.
const WAIT_MS = 5_000;
const RETRY_EVERY_MS = 20;

/**
 * Passes on the connections to one Unix socket to another. State calls executors through it: workerd
 * keeps such a connection for as long as it lives, and an executor that is asked to end would wait
 * for it. Closing the relay ends those, and leaves the executor only with its clients' requests.
 * Connections that are made while the other socket is away wait for it.
 */
export class Relay {
  readonly #server: Server;
  #to: string;
  readonly #connections = new Set<Socket>();

  constructor(from: string, to: string) {
    this.#to = to;
    this.#server = createServer({ allowHalfOpen: true }, (caller) => void this.#accept(caller));
    this.#server.listen(from);
  }

  async #accept(caller: Socket): Promise<void> {
    this.#add(caller);
    const called = await this.#reach();
    if (!called) {
      caller.destroy();
      return;
    }
    this.#add(called);
    for (const [socket, other] of [
      [caller, called],
      [called, caller],
    ] as const) {
      socket.pipe(other);
      // Both ends of the connection share its fate.
      if (socket.destroyed) other.destroy();
      else socket.once("close", () => other.destroy());
    }
  }

  #add(socket: Socket): void {
    this.#connections.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => this.#connections.delete(socket));
  }

  /** A connection to where this leads, or undefined if nobody listens there for too long. */
  async #reach(): Promise<Socket | undefined> {
    for (const deadline = Date.now() + WAIT_MS; Date.now() < deadline;) {
      const socket = connect({ path: this.#to, allowHalfOpen: true });
      const connected = await new Promise<boolean>((resolve) => {
        socket.once("connect", () => resolve(true));
        socket.once("error", () => resolve(false));
      });
      if (connected) return socket;
      await sleep(RETRY_EVERY_MS);
    }
    return undefined;
  }

  /** Leads elsewhere from now on. The connections there are end, with the calls that wait in them. */
  switchTo(to: string): void {
    this.#to = to;
    this.#end();
  }

  close(): void {
    this.#server.close();
    this.#end();
  }

  #end(): void {
    for (const socket of this.#connections) socket.destroy();
  }
}
