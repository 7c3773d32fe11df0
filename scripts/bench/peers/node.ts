import { join } from "node:path";
import { freePort } from "../../../test/harness/platform.ts";
import { requestBytes } from "../connection.ts";
import { timed, type Peer } from "./peer.ts";

/** Node's own HTTP server. */
export const nodeHttp: Peer = {
  name: "node:http",
  processEach: true,
  start: async (stage) => {
    const port = await freePort();
    const target = { port, request: requestBytes(`localhost:${port}`) };
    const server = join(import.meta.dirname, "node-server.js");
    return timed(stage, target, () => stage.spawn(process.execPath, [server, String(port)]));
  },
};
