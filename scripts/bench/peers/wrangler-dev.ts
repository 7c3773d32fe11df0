import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { freePort } from "../../../test/harness/platform.ts";
import { requestBytes } from "../connection.ts";
import { HELLO } from "../mayfly.ts";
import { timed, type Peer } from "./peer.ts";

const ROOT = dirname(dirname(dirname(import.meta.dirname)));
const WRANGLER = join(ROOT, "node_modules/wrangler/bin/wrangler.js");

/** `wrangler dev` of this checkout. */
export const wranglerDev: Peer = {
  name: "wrangler dev",
  processEach: true,
  start: async (stage) => {
    writeFileSync(join(stage.folder, "hello.js"), HELLO);
    const config = { name: "hello", main: "hello.js", compatibility_date: "2026-07-01" };
    writeFileSync(join(stage.folder, "wrangler.json"), JSON.stringify(config));
    const port = await freePort();
    const target = { port, request: requestBytes(`localhost:${port}`) };
    const ports = ["--ip", "127.0.0.1", "--port", String(port), "--inspector-port", "0"];
    const env = {
      CI: "1",
      WRANGLER_SEND_METRICS: "false",
      CLOUDFLARE_CF_FETCH_ENABLED: "false",
      XDG_CONFIG_HOME: stage.folder,
      WRANGLER_LOG_PATH: join(stage.folder, "logs"),
    };
    return timed(stage, target, () =>
      stage.spawn(process.execPath, [WRANGLER, "dev", ...ports, "--log-level", "error"], { env }),
    );
  },
};
