/** What spans of calls of bindings say: the conventions' names, and Cloudflare's where they have none. */
import type { D1Props } from "../../bindings/d1/entrypoint.ts";
import type { Statement } from "../../bindings/d1/protocol.ts";
import type { KvProps } from "../../bindings/kv/entrypoint.ts";
import type { QueueProps } from "../../bindings/queue/entrypoint.ts";
import type { R2Props } from "../../bindings/r2/entrypoint.ts";
import type { Attributes, Kind } from "./span.ts";

/** A call of a binding: what its span is called and says. Neither keys nor values are told. */
export type Describe<Props> = (
  operation: string,
  props: Props,
  args: unknown[],
) => { name: string; kind: Kind; attributes: Attributes };

// More of a query would make spans large.
const MAX_QUERY_LENGTH = 1_000;

export const describeKv: Describe<KvProps> = (operation, { namespaceId }) => ({
  name: `kv_${operation}`,
  kind: "client",
  attributes: {
    "db.system.name": "cloudflare-kv",
    "db.namespace": namespaceId,
    "db.operation.name": operation,
    "cloudflare.binding.type": "KV",
  },
});

export const describeR2: Describe<R2Props> = (operation, { bucketName }) => ({
  name: `r2_${operation}`,
  kind: "client",
  attributes: {
    "cloudflare.binding.type": "R2",
    "cloudflare.r2.bucket": bucketName,
    "cloudflare.r2.operation": operation,
  },
});

export const describeD1: Describe<D1Props> = (_, { databaseId }, [statements]) => {
  const [first, second] = statements as Statement[];
  const operation = second ? "batch" : "query";
  return {
    name: `d1_${operation}`,
    kind: "client",
    attributes: {
      "db.system.name": "cloudflare-d1",
      "db.namespace": databaseId,
      "db.operation.name": operation,
      "db.operation.batch.size": second && (statements as Statement[]).length,
      "db.query.text": first && !second ? withoutLiterals(first.sql) : undefined,
      "cloudflare.binding.type": "D1",
    },
  };
};

const withoutLiterals = (sql: string): string =>
  sql.slice(0, MAX_QUERY_LENGTH).replaceAll(/'(?:[^']|'')*'?|\b\d[\w.]*\b/g, "?");

export const describeQueue: Describe<QueueProps> = (operation, { queueName }, [messages]) => ({
  name: `${operation} ${queueName}`,
  kind: operation === "send" ? "producer" : "client",
  attributes: {
    "messaging.system": "cloudflare-queues",
    "messaging.operation.name": operation,
    "messaging.operation.type": operation === "send" ? "send" : undefined,
    "messaging.destination.name": queueName,
    "messaging.batch.message_count": (messages as unknown[] | undefined)?.length,
    "cloudflare.binding.type": "Queue",
  },
});
