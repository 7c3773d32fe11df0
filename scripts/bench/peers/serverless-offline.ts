import { copyFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../../../test/harness/platform.ts";
import { requestBytes } from "../connection.ts";
import type { Stage } from "../stage.ts";
import { install } from "./install.ts";
import { timed, type Peer, type Started } from "./peer.ts";

const VERSION = "13.9.0";
// The last that runs without an account at its maker's.
const SERVERLESS_VERSION = "3.40.0";

/** serverless-offline with the Serverless Framework, installed into the folder. */
export async function serverlessOffline(folder: string): Promise<Peer> {
  await install(folder, [`serverless@${SERVERLESS_VERSION}`, `serverless-offline@${VERSION}`]);
  const modules = join(folder, "node_modules");
  return {
    name: `serverless-offline ${VERSION}`,
    optional: true,
    start: (stage) => start(stage, modules, 1),
    startMany: async (stage, count) => {
      const { port, pid } = await start(stage, modules, 1 + count);
      const requests = Array.from({ length: count }, (_, index) =>
        requestBytes(`localhost:${port}`, `/${index + 1}`),
      );
      return { port, requests, pid };
    },
  };
}

async function start(stage: Stage, modules: string, functions: number): Promise<Started> {
  symlinkSync(modules, join(stage.folder, "node_modules"));
  copyFileSync(join(import.meta.dirname, "lambda.cjs"), join(stage.folder, "handler.js"));
  writeFileSync(join(stage.folder, "serverless.json"), JSON.stringify(configuration(functions)));
  const [port, lambdaPort, albPort] = [await freePort(), await freePort(), await freePort()];
  const target = { port, request: requestBytes(`localhost:${port}`, "/0") };
  const ports = [`--httpPort=${port}`, `--lambdaPort=${lambdaPort}`, `--albPort=${albPort}`];
  const env = {
    HOME: stage.folder,
    SLS_TELEMETRY_DISABLED: "1",
    SLS_TRACKING_DISABLED: "1",
    SLS_NOTIFICATIONS_MODE: "off",
  };
  const cli = join(modules, "serverless/bin/serverless.js");
  return timed(stage, target, () =>
    stage.spawn(process.execPath, [cli, "offline", "--host=127.0.0.1", ...ports], { env }),
  );
}

const configuration = (functions: number): object => ({
  service: "hello",
  frameworkVersion: "3",
  provider: { name: "aws", runtime: "nodejs20.x" },
  plugins: ["serverless-offline"],
  functions: Object.fromEntries(
    Array.from({ length: functions }, (_, index) => [
      `hello-${index}`,
      { handler: "handler.hello", events: [{ httpApi: { method: "GET", path: `/${index}` } }] },
    ]),
  ),
});
