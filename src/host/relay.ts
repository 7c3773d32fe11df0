import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

// A process that was ended listens again a moment later.
const WAIT_MS = 5_000;
const RETRY_EVERY_MS = 20;

/**
 * Passes on the connections to one Unix socket to another. State calls executors through it: workerd
 * keeps such a connection for as long as it lives, and an executor that is asked to end would wait
 * for it. Leading elsewhere ends those, and leaves the executor only with its clients' requests.
 * Connections that are made while the other socket is away wait for it; while there is none they are ended.
 */
export class Relay {
  readonly #server: Server;
  readonly #wanted: () => void;
  #to: string | undefined;
  readonly #connections = new Set<Socket>();
  #bytesBefore = 0;

  /** `wanted` is called for each new connection, and may have it lead somewhere. */
  constructor(from: string, wanted: () => void = () => undefined) {
    this.#wanted = wanted;
    this.#server = createServer({ allowHalfOpen: true }, (caller) => void this.#accept(caller));
    this.#server.listen(from);
  }

  /** How much has gone through it until now. */
  get bytes(): number {
    return [...this.#connections].reduce(
      (sum, socket) => sum + socket.bytesRead,
      this.#bytesBefore,
    );
  }

  async #accept(caller: Socket): Promise<void> {
    this.#wanted();
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
    socket.once("close", () => {
      this.#connections.delete(socket);
      this.#bytesBefore += socket.bytesRead;
    });
  }

  /** A connection to where this leads, or undefined if that is nowhere or nobody listens there for too long. */
  async #reach(): Promise<Socket | undefined> {
    for (const deadline = Date.now() + WAIT_MS; this.#to && Date.now() < deadline;) {
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

  /** Leads elsewhere, or nowhere, from now on. The connections there are ended, with the calls that wait in them. */
  switchTo(to: string | undefined): void {
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
