import { WorkerEntrypoint } from "cloudflare:workers";
import type { Env } from "../../env.ts";
import { reportSoon } from "../../usage/report.ts";
import type { CapturedLine } from "./captured.ts";
import { keepLine } from "./kept.ts";

const INVOCATION_ID = /^[0-9a-f]{16}$/;

export interface CaptureProps {
  scriptId: string;
  versionId: string;
}

/** Takes what workers write with `console` in isolates without a tail; called by the prelude only. */
export class Capture extends WorkerEntrypoint<Env, CaptureProps> {
  /** See `TakeLines`. */
  async take(lines: string): Promise<void> {
    for (const line of JSON.parse(lines) as CapturedLine[]) {
      // A worker may have called itself with a request of its own making.
      if (INVOCATION_ID.test(line[0])) keepLine(this.ctx.props, line);
    }
    reportSoon(this.env, this.ctx);
  }
}
