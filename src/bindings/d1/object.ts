import { DurableObject } from "cloudflare:workers";
import type { Env } from "../../env.ts";
import type { DumpOptions } from "../../roles/contract.ts";
import type { Statement, StatementResult } from "./protocol.ts";

export class DatabaseObject extends DurableObject<Env> {
  async query(_statements: Statement[]): Promise<StatementResult[]> {
    throw new Error("unfinished");
  }
  async execute(_sql: string): Promise<StatementResult[]> {
    throw new Error("unfinished");
  }
  async dump(_options: DumpOptions): Promise<ReadableStream<Uint8Array>> {
    throw new Error("unfinished");
  }
  async info(): Promise<{ sizeBytes: number; tables: number }> {
    throw new Error("unfinished");
  }
  async destroy(): Promise<void> {}
}
