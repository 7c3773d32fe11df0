import { WorkerEntrypoint } from "cloudflare:workers";
import type { DatabaseObject } from "../bindings/d1/object.ts";
import type {
  DumpOptions,
  DumpOutcome,
  ImportOutcome,
  QueryOutcome,
  Statement,
} from "../bindings/d1/protocol.ts";
import type { Env } from "../env.ts";
import type { Feed } from "../triggers/database/protocol.ts";
import type { ShardRole } from "./contract.ts";
import { forward } from "./forward.ts";

/** The shard role: see `ShardRole` for what each method promises. */
export class Shard extends WorkerEntrypoint<Env> implements ShardRole {
  #database(id: string): DurableObjectStub<DatabaseObject> {
    return this.env.DATABASES.get(this.env.DATABASES.idFromName(id));
  }

  /** Answers the watchdog's pings: an event loop that stands still does not. */
  override async fetch(): Promise<Response> {
    return new Response("ok");
  }

  async ready(): Promise<void> {}

  query(databaseId: string, statements: Statement[]): Promise<QueryOutcome> {
    return forward<QueryOutcome>(this.#database(databaseId).query(statements));
  }

  execute(databaseId: string, sql: string): Promise<QueryOutcome> {
    return forward<QueryOutcome>(this.#database(databaseId).execute(sql));
  }

  import(databaseId: string, sql: ReadableStream<Uint8Array>): Promise<ImportOutcome> {
    return forward<ImportOutcome>(this.#database(databaseId).import(sql));
  }

  dump(databaseId: string, options: DumpOptions): Promise<DumpOutcome> {
    return forward<DumpOutcome>(this.#database(databaseId).dump(options));
  }

  info(databaseId: string): Promise<{ sizeBytes: number; tables: number }> {
    return forward(this.#database(databaseId).info());
  }

  destroy(databaseId: string): Promise<void> {
    return this.#database(databaseId).destroy();
  }

  subscribe(feed: Feed): Promise<void> {
    return this.#database(feed.databaseId).subscribe(feed);
  }
}
