import type { DatabaseObject } from "./bindings/d1/object.ts";
import type { QueueObject } from "./bindings/queue/object.ts";
import type { LogsObject } from "./observe/logs/object.ts";
import type { TailObject } from "./observe/tail/object.ts";
import type { Lane } from "./pipeline/lanes.ts";
import type { BucketObject } from "./triggers/bucket/object.ts";
import type { SchedulerObject } from "./triggers/cron/object.ts";
import type { BudgetObject } from "./usage/budgets/object.ts";

/**
 * What the platform Worker is given: by `wrangler.toml` under `wrangler dev` and at the edge, by
 * `src/host/` on an own machine. There, each process gets only what its role needs.
 */
export interface Env {
  /** State: the catalog. */
  CATALOG: D1Database;
  /** State: all KV namespaces, one key prefix each. */
  KV: KVNamespace;
  /** State: code, and all R2 buckets, one key prefix each. */
  BUCKET: R2Bucket;
  /** Shard: one object per D1 database. */
  DATABASES: DurableObjectNamespace<DatabaseObject>;
  /** State: one object per queue, named by the queue's id. */
  QUEUES: DurableObjectNamespace<QueueObject>;
  /** State: the one object of all schedules. */
  SCHEDULER: DurableObjectNamespace<SchedulerObject>;
  /** State: one object per bucket that has notifications, named by the bucket's number. */
  BUCKETS: DurableObjectNamespace<BucketObject>;
  /** State: one object per script whose logs are kept, named by the script's id. */
  LOGS: DurableObjectNamespace<LogsObject>;
  /** State: one object per script that is tailed, named by the script's id. */
  TAILS: DurableObjectNamespace<TailObject>;
  /** State: one object per account that has budgets, named by its id. */
  BUDGETS: DurableObjectNamespace<BudgetObject>;
  /** State on an own machine: answers any request with `StoredBytes`. */
  STORED?: Fetcher;
  /** Executor and quarantine: makes isolates. */
  LOADER: WorkerLoader;

  /** Other roles, where they are other processes; see `roles/contract.ts`. */
  STATE?: Fetcher;
  [shard: `SHARD_${number}`]: Fetcher;
  [executor: `EXECUTOR_${number}`]: Fetcher;
  /** The executors of what must not run with all else; see `pipeline/lanes.ts`. */
  EXECUTOR_APART?: Fetcher;
  EXECUTOR_LONG?: Fetcher;
  QUARANTINE?: Fetcher;

  /** `edge` on Cloudflare, `workerd` where isolates must be evicted by the platform itself. */
  MAYFLY_RUNTIME: "edge" | "workerd";
  /** Base domain of workers' addresses: `<script>.<subdomain>.<MAYFLY_DOMAIN>`. */
  MAYFLY_DOMAIN: string;
  /** Port that clients see, put into addresses that the API prints; empty for the scheme's own. */
  MAYFLY_PORT?: string;
  /** State: scheme of the addresses that the API prints; at the edge always https. */
  MAYFLY_SCHEME?: "http" | "https";
  /** Executor: addresses and networks, separated by commas, whose word about their clients is taken. */
  MAYFLY_TRUSTED_PROXIES?: string;
  /** Subdomain of the default account. */
  MAYFLY_SUBDOMAIN: string;
  /** Id of the default account, 32 hex digits; without it one is made and kept in the catalog. */
  MAYFLY_ACCOUNT_ID?: string;
  /** Root token: may do everything in every account. */
  MAYFLY_TOKEN?: string;
  /** Key of secrets at rest and of signed links: 32 bytes in base64. */
  MAYFLY_SECRETS_KEY?: string;
  /** How many executors there are in other processes: `EXECUTOR_1` and so on; none if missing. */
  MAYFLY_EXECUTORS?: string;
  /** Executors that share nothing with others have a name for what they run. */
  MAYFLY_LANE?: Lane | "";
  /** CPU time of an invocation in milliseconds: the default, and the most a version may ask for. */
  MAYFLY_CPU_MS?: string;
  MAYFLY_MAX_CPU_MS?: string;
  /** State: set where what executors use of CPU time is known. */
  MAYFLY_CPU_TIME?: "known" | "";
  /** Executors' own: memory in MiB above which this process is replaced. */
  MAYFLY_MEMORY_MB?: string;
  /** Executor: `otlp` if traces are made. Names as in https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ */
  OTEL_TRACES_EXPORTER?: string;
  /** Executor: share of traces that are recorded, 0 to 1; 1 if missing. */
  OTEL_TRACES_SAMPLER_ARG?: string;
  /** Executor: what the spans' service is called; `mayfly` if missing. */
  OTEL_SERVICE_NAME?: string;
  /** State: where spans are sent to by POST, and with which headers: `name=value`, separated by commas. */
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT?: string;
  OTEL_EXPORTER_OTLP_TRACES_HEADERS?: string;
  /** Executor in a sandbox, egress: what only they know of how a failure is told; 32 hex digits. */
  MAYFLY_EGRESS_MARK?: string;
  /** Executor, shard: how the flight recorder begins, 32 hex digits; without it nothing is recorded. */
  MAYFLY_FLIGHT_MARK?: string;
  /** Among how many shards new databases are spread; 1 if missing. */
  MAYFLY_SHARDS?: string;
  /** Shard: longest time a query may take; 30000 if missing. */
  MAYFLY_QUERY_MS?: string;
  /** Shard: databases that take no SQL for now, as JSON: until when, by id. */
  MAYFLY_PAUSED?: string;
  /** State: how many scripts, and how many queues, have series of their own in the metrics. */
  MAYFLY_METRICS_SERIES?: string;
  /** State: how long the logs of a script are kept, and how many MiB of them; 7 and 100 if missing. */
  MAYFLY_LOG_DAYS?: string;
  MAYFLY_LOG_MB?: string;
  /** Further zones of the default account, separated by commas. */
  MAYFLY_ZONES?: string;
  /** Further hosts, separated by commas, under which the API answers. */
  MAYFLY_API_HOSTS?: string;
}
