import { WorkerEntrypoint } from "cloudflare:workers";
import type { Env } from "../../env.ts";
import { log } from "../log.ts";
import type { CapturedLine } from "./captured.ts";
import { keepLines } from "./kept.ts";
import { isSampled } from "./sampling.ts";

export interface CaptureProps {
  scriptId: string;
  versionId: string;
  /** Share of the script's invocations that are kept. */
  rate: number;
}

/** Takes what workers write with `console` in isolates without a tail; called by the prelude only. */
export class Capture extends WorkerEntrypoint<Env, CaptureProps> {
  /** See `TakeLines`. */
  async take(id: string, lines: string): Promise<void> {
    const { scriptId, versionId, rate } = this.ctx.props;
    if (!isSampled(id, rate)) return;
    try {
      keepLines({ scriptId, versionId, id }, JSON.parse(lines) as CapturedLine[]);
    } catch (error) {
      log("warn", "lines_not_kept", { script: scriptId, id, message: String(error) });
    }
  }
}
