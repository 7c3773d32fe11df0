import { join } from "node:path";
import { freePort } from "../../../test/harness/platform.ts";
import { pidOf } from "../../../test/harness/processes.ts";
import { upload } from "../../../test/harness/upload.ts";
import { at, firstInMayfly, HELLO, startMayfly, type Isolation } from "../mayfly.ts";
import { Stage } from "../stage.ts";
import type { Peer } from "./peer.ts";

/** Mayfly with a data folder to which the function has been deployed before. */
export async function mayfly(
  name: string,
  isolation: Isolation,
  executors: number,
  { folder }: Stage,
): Promise<Peer> {
  const dataDir = join(folder, `${isolation}-${executors}`);
  const settings = { MAYFLY_EXECUTORS: String(executors) };
  {
    await using stage = new Stage();
    const platform = await stage.platform({ dataDir, env: settings });
    await upload(platform, { name: "hello", code: HELLO, isolation });
  }
  return {
    name,
    start: async (stage) => {
      const port = await freePort();
      const target = at({ port }, "hello");
      const begun = performance.now();
      const [platform, startMs] = await Promise.all([
        stage.platform({ dataDir, env: { ...settings, PORT: String(port) } }),
        stage.untilAnswered(target).then(() => performance.now() - begun),
      ]);
      return { ...target, pid: platform.process.pid as number, startMs };
    },
    // Of several executors each starts what it is called for, and which one that is is chance.
    ...(executors === 1 && {
      startMany: async (stage: Stage, count: number) => {
        const { platform } = await startMayfly(stage, executors);
        const requests = await firstInMayfly(platform, count, isolation);
        return { port: platform.port, requests, pid: pidOf(platform, "executor-1") };
      },
    }),
  };
}
