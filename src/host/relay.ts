import { connect, createServer, type Server, type Socket } from "node:net";

/**
 * Passes on the connections to one Unix socket to another. State calls executors through it: workerd
 * keeps such a connection for as long as it lives, and an executor that is asked to end would wait
 * for it. Closing the relay ends those, and leaves the executor only with its clients' requests.
 */
export class Relay {
  readonly #server: Server;
  #to: string;
  readonly #connections = new Set<Socket>();

  constructor(from: string, to: string) {
    this.#to = to;
    this.#server = createServer({ allowHalfOpen: true }, (caller) => {
      const called = connect({ path: this.#to, allowHalfOpen: true });
      for (const [socket, other] of [
        [caller, called],
        [called, caller],
      ] as const) {
        this.#connections.add(socket);
        socket.pipe(other);
        // Both ends of the connection share its fate.
        socket.on("error", () => {});
        socket.on("close", () => {
          this.#connections.delete(socket);
          other.destroy();
        });
      }
    });
    this.#server.listen(from);
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
