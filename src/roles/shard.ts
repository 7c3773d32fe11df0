import { WorkerEntrypoint } from "cloudflare:workers";
import type { DatabaseObject } from "../bindings/d1/object.ts";
import type { Statement, StatementResult } from "../bindings/d1/protocol.ts";
import type { Env } from "../env.ts";
import type { DumpOptions, ShardRole } from "./contract.ts";

/** The shard role: see `ShardRole` for what each method promises. */
export class Shard extends WorkerEntrypoint<Env> implements ShardRole {
  #database(id: string): DurableObjectStub<DatabaseObject> {
    return this.env.DATABASES.get(this.env.DATABASES.idFromName(id));
  }

  query(databaseId: string, statements: Statement[]): Promise<StatementResult[]> {
    return this.#database(databaseId).query(statements);
  }

  execute(databaseId: string, sql: string): Promise<StatementResult[]> {
    return this.#database(databaseId).execute(sql);
  }

  dump(databaseId: string, options: DumpOptions): Promise<ReadableStream<Uint8Array>> {
    return this.#database(databaseId).dump(options);
  }

  info(databaseId: string): Promise<{ sizeBytes: number; tables: number }> {
    return this.#database(databaseId).info();
  }

  destroy(databaseId: string): Promise<void> {
    return this.#database(databaseId).destroy();
  }
}
