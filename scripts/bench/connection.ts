import { connect, type Socket } from "node:net";

/** What a connection sends: bytes, since making a request anew each time would cost the server's share. */
export function requestBytes(host: string, path = "/"): Buffer {
  return Buffer.from(`GET ${path} HTTP/1.1\r\nhost: ${host}\r\n\r\n`, "latin1");
}

/**
 * One keep-alive HTTP/1.1 connection with at most one request in flight. It understands what
 * servers answer to a plain GET and no more, so that it costs little beside the server under test.
 */
export class Connection {
  readonly #socket: Socket;
  #received: Buffer | undefined;
  #done: ((error: Error | undefined) => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("error", (error) => this.#finish(error));
    socket.on("close", () => this.#finish(new Error("The server closed the connection")));
  }

  static open(port: number): Promise<Connection> {
    const socket = connect(port, "127.0.0.1");
    return new Promise((resolve, reject) => {
      socket.once("error", reject);
      socket.once("connect", () => resolve(new Connection(socket)));
    });
  }

  /** Calls `done` after the last byte of the answer; with an error if that is not a 200. */
  send(request: Buffer, done: (error: Error | undefined) => void): void {
    this.#done = done;
    this.#socket.write(request);
  }

  /** As `send`, for callers to whom a promise is not too slow. */
  request(request: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.send(request, (error) => (error ? reject(error) : resolve()));
    });
  }

  close(): void {
    this.#done = undefined;
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    const received = this.#received ? Buffer.concat([this.#received, chunk]) : chunk;
    if (!isComplete(received)) {
      this.#received = received;
      return;
    }
    this.#received = undefined;
    const ok = received.toString("latin1", 9, 12) === "200";
    this.#finish(ok ? undefined : new Error(`The server answered: ${received.toString("latin1")}`));
  }

  #finish(error: Error | undefined): void {
    const done = this.#done;
    this.#done = undefined;
    done?.(error);
  }
}

function isComplete(received: Buffer): boolean {
  const headEnd = received.indexOf("\r\n\r\n");
  if (headEnd < 0) return false;
  const head = received.toString("latin1", 0, headEnd);
  const length = /\r\ncontent-length: *(\d+)/i.exec(head);
  if (length) return received.length >= headEnd + 4 + Number(length[1]);
  // Chunked, then: the last chunk is empty.
  return received.toString("latin1", received.length - 5) === "0\r\n\r\n";
}
