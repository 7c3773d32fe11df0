import { connect, type Socket } from "node:net";

/** What came back over a connection. */
export interface RawAnswer {
  /** Status of each response, interim ones too. */
  statuses: number[];
  text: string;
  /** Whether the other side has closed it. */
  closed: boolean;
}

export interface RawOptions {
  /** Ends this side's half of the connection when all is sent. */
  end?: boolean;
  /** How long a connection that stays open is listened to. */
  forMs?: number;
}

/** Sends these bytes to a port of this machine's loopback, as they are. */
export function sendRaw(
  port: number,
  bytes: string | Uint8Array,
  { end = false, forMs = 500 }: RawOptions = {},
): Promise<RawAnswer> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    let text = "";
    const finish = (closed: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      const statuses = [...text.matchAll(/HTTP\/1\.[01] (\d{3})/g)].map(([, status]) =>
        Number(status),
      );
      resolve({ statuses, text, closed });
    };
    const timer = setTimeout(() => finish(false), forMs);
    socket.on("data", (data: Buffer) => (text += data.toString("latin1")));
    // Whoever refuses need not read all that is sent.
    socket.on("error", () => finish(true));
    socket.on("end", () => finish(true));
    if (end) socket.end(bytes);
    else socket.write(bytes);
  });
}

/** Connections that stay open, and say nothing of what comes back. */
export function openConnections(port: number, count: number): Socket[] {
  return Array.from({ length: count }, () => {
    const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    socket.on("error", () => socket.destroy());
    return socket;
  });
}
