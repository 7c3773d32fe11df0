import { join } from "node:path";
import workerd from "workerd";
import { openPublicSocket, type PublicSocket } from "../../src/host/public-socket.ts";
import { readSettings } from "../../src/host/settings.ts";
import { freePort } from "../../test/harness/platform.ts";
import { requestBytes } from "./connection.ts";
import type { Stage, Target } from "./stage.ts";

// As in the configuration.
const SOCKETS = ["plain", "warm", "first", "load"] as const;
const FIRST_DESCRIPTOR = 3;

/** workerd alone, by the names of its sockets, and the processes' ids. */
export type Workerd = Record<(typeof SOCKETS)[number], Target> & { pids: number[] };

/** Starts so many processes of workerd that accept from the same sockets, as executors do. */
export async function startWorkerd(stage: Stage, processes: number): Promise<Workerd> {
  const ports: number[] = [];
  const open: PublicSocket[] = [];
  for (const _ of SOCKETS) {
    const port = await freePort();
    const socket = await openPublicSocket({ ...readSettings({}), port });
    stage.defer(() => socket.close());
    ports.push(port);
    open.push(socket);
  }
  const options = SOCKETS.map((name, index) => `--socket-fd=${name}=${FIRST_DESCRIPTOR + index}`);
  const config = join(import.meta.dirname, "workerd.capnp");
  const pids = Array.from({ length: processes }, () =>
    stage.spawn(workerd.default, ["serve", "--experimental", ...options, config], {
      descriptors: open.map(({ fd }) => fd),
    }),
  );
  const targets = SOCKETS.map((name, index) => {
    const port = ports[index] as number;
    return [name, { port, request: requestBytes(`localhost:${port}`) }] as const;
  });
  for (const [name, target] of targets) {
    // An answer from one of the processes says nothing of the others, but they start alike.
    if (name !== "first") await stage.untilAnswered(target);
  }
  return { ...(Object.fromEntries(targets) as Omit<Workerd, "pids">), pids };
}

let asked = 0;

/** Requests to isolates of the loader that have never been called. */
export function firstInLoader({ first }: Workerd, count: number): Buffer[] {
  return Array.from({ length: count }, () =>
    requestBytes(`localhost:${first.port}`, `/${asked++}`),
  );
}
