import { WorkerEntrypoint } from "cloudflare:workers";
import type { Env } from "../../env.ts";
import { shardOf } from "../../roles/contract.ts";
import { forward } from "../../roles/forward.ts";
import type { QueryOutcome, Statement } from "./protocol.ts";

/** Which database; set by the platform, which has checked that the account owns it. */
export interface D1Props {
  accountId: string;
  databaseId: string;
}

/** What a worker's D1 binding reaches: one database and nothing else of it but queries. */
export class D1Binding extends WorkerEntrypoint<Env, D1Props> {
  query(statements: Statement[]): Promise<QueryOutcome> {
    return forward(shardOf(this.env, this.ctx).query(this.ctx.props.databaseId, statements));
  }
}
