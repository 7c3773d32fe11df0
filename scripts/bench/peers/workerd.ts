import { join } from "node:path";
import workerd from "workerd";
import { freePort } from "../../../test/harness/platform.ts";
import { requestBytes } from "../connection.ts";
import type { Stage } from "../stage.ts";
import { timed, type Peer, type Started } from "./peer.ts";

const CONFIG = join(import.meta.dirname, "..", "workerd.capnp");

/** workerd with nothing but the function. */
export const plainWorkerd: Peer = {
  name: "workerd, plain worker",
  processEach: true,
  start: (stage) => start(stage, "plain").then(({ started }) => started),
};

/** workerd with the least that dispatches into functions loaded when they are called. */
export const bareLoader: Peer = {
  name: "workerd, bare loader",
  start: (stage) => start(stage, "warm").then(({ started }) => started),
  startMany: async (stage, count) => {
    const { started, first } = await start(stage, "warm");
    const requests = Array.from({ length: count }, (_, index) =>
      requestBytes(`localhost:${first}`, `/${index}`),
    );
    return { port: first, requests, pid: started.pid };
  },
};

async function start(
  stage: Stage,
  socket: "plain" | "warm",
): Promise<{ started: Started; first: number }> {
  const ports = {
    plain: await freePort(),
    warm: await freePort(),
    first: await freePort(),
    load: await freePort(),
  };
  const options = Object.entries(ports).map(
    ([name, port]) => `--socket-addr=${name}=127.0.0.1:${port}`,
  );
  const port = ports[socket];
  const target = { port, request: requestBytes(`localhost:${port}`) };
  const started = await timed(stage, target, () =>
    stage.spawn(workerd.default, ["serve", "--experimental", ...options, CONFIG]),
  );
  return { started, first: ports.first };
}
