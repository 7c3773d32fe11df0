import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../../../test/harness/platform.ts";
import { requestBytes } from "../connection.ts";
import { install } from "./install.ts";
import { timed, type Peer } from "./peer.ts";

const PACKAGE = "@google-cloud/functions-framework";
const VERSION = "5.0.5";

/** Google's functions-framework, installed into the folder. */
export async function functionsFramework(folder: string): Promise<Peer> {
  await install(folder, [`${PACKAGE}@${VERSION}`]);
  const main = join(folder, "node_modules", PACKAGE, "build/src/main.js");
  const loopback = join(import.meta.dirname, "loopback.cjs");
  return {
    name: `functions-framework ${VERSION}`,
    processEach: true,
    optional: true,
    start: async (stage) => {
      copyFileSync(join(import.meta.dirname, "function.cjs"), join(stage.folder, "index.js"));
      const port = await freePort();
      const target = { port, request: requestBytes(`localhost:${port}`) };
      const options = ["--target=hello", `--port=${port}`];
      const env = { NODE_ENV: "production" };
      return timed(stage, target, () =>
        stage.spawn(process.execPath, ["--require", loopback, main, ...options], { env }),
      );
    },
  };
}
