import { WorkerEntrypoint } from "cloudflare:workers";
import type { Env } from "../../env.ts";
import { shardOf } from "../../roles/contract.ts";
import { forward } from "../../roles/forward.ts";
import { describeD1 } from "../../observe/traces/operations.ts";
import { metered, type CallerProps } from "../metered.ts";
import { GONE, type QueryOutcome, type Statement } from "./protocol.ts";

/** Which database; set by the platform, which has checked that the account owns it. */
export interface D1Props extends CallerProps {
  accountId: string;
  databaseId: string;
  /** The shard that keeps it; missing if it does not exist any more. */
  shard?: number;
}

/** What a worker's D1 binding reaches: one database and nothing else of it but queries. */
export class D1Binding extends WorkerEntrypoint<Env, D1Props> {
  async query(statements: Statement[]): Promise<QueryOutcome> {
    const { databaseId, shard } = this.ctx.props;
    if (shard === undefined) return { ok: false, error: GONE };
    return forward(shardOf(this.env, this.ctx, shard).query(databaseId, statements));
  }
}
metered(D1Binding, "d1", { query: "query" }, describeD1);
