import { WorkerEntrypoint } from "cloudflare:workers";
import type { Env } from "../env.ts";
import { forgetRoutes } from "../pipeline/resolve.ts";
import type { ExecutorRole } from "./contract.ts";

/** The executor role: see `ExecutorRole` for what each method promises. */
export class Executor extends WorkerEntrypoint<Env> implements ExecutorRole {
  async invalidate(): Promise<void> {
    forgetRoutes();
  }
}
