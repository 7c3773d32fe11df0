/**
 * The roles of the platform and what each may ask of another. All are entrypoints of this one
 * Worker. On an own machine they run in processes of their own and these calls cross Unix sockets;
 * elsewhere they are loopbacks. So arguments and results must be serializable, always.
 */
import type { EgressRules } from "../bindings/egress/rules.ts";
import type { KvStore } from "../bindings/kv/store.ts";
import type { R2Store } from "../bindings/r2/store.ts";
import type {
  DumpOptions,
  DumpOutcome,
  ImportOutcome,
  QueryOutcome,
  Statement,
} from "../bindings/d1/protocol.ts";
import type { Backlog, DeliveredBatch, NewMessage } from "../bindings/queue/protocol.ts";
import type { HostTable, ScriptTarget, VersionTarget } from "../catalog/routing.ts";
import type { IsolateSource } from "../catalog/source.ts";
import type { Env } from "../env.ts";
import type { Entrypoint } from "../pipeline/invoke.ts";
import type { LaneCall } from "../pipeline/lanes.ts";
import type { KeptLogs } from "../observe/logs/kept-row.ts";
import type { ExecutorSample } from "../observe/metrics/executors.ts";
import type { Traced } from "../observe/tail/trace-item.ts";
import type { Feed } from "../triggers/database/protocol.ts";
import type { Lease, LeaseRequest, Returned, Webhook } from "../usage/budgets/protocol.ts";
import type { EventOutcome, QueueOutcome, ScheduledEvent } from "./events.ts";

/** Holds the platform's own data. Runs no code and no SQL of a user. */
export interface StateRole {
  /** Returns when the role and all shards can serve, and sees to it that all events that are due are worked on. */
  ready(): Promise<void>;
  /** The control API. */
  fetch(request: Request): Promise<Response>;
  /** What is served under a host name (lower case, no port), or undefined. */
  resolveHost(host: string): Promise<HostTable | undefined>;
  /** The deployed versions of a script of the account, or undefined. */
  resolveScript(accountId: string, scriptName: string): Promise<ScriptTarget | undefined>;
  /** Everything that an isolate of a version is made of, secrets in clear; undefined if unknown. */
  loadVersion(versionId: string): Promise<IsolateSource | undefined>;
  /** Which hosts the account's workers may call; undefined if all. */
  egressRules(accountId: string): Promise<EgressRules | undefined>;
  /** The values of the account's namespace. */
  kv(accountId: string, namespaceId: string): KvStore;
  /** The objects of the account's bucket. */
  r2(accountId: string, bucketName: string): R2Store;
  /**
   * Puts messages into the account's queue, all or none; they outlive any crash once this returns.
   * Throws in Cloudflare's words if there is no such queue or a limit is passed.
   */
  sendMessages(accountId: string, queueName: string, messages: NewMessage[]): Promise<Backlog>;
  /** What waits in the account's queue. */
  queueBacklog(accountId: string, queueName: string): Promise<Backlog>;
  /** Like `sendMessages`, for the platform's own messages; false if the queue is gone. */
  enqueue(queueId: string, messages: NewMessage[]): Promise<boolean>;
  /** The metrics that may be seen with the token, as text; undefined if it is none. */
  metrics(token: string): Promise<string | undefined>;
  /** Like `enqueue`, for the default account's queue of this name: messages of a native queue. */
  takeNative(queueName: string, messages: NewMessage[]): Promise<boolean>;
  /**
   * Keeps what an executor has counted, once however often it comes: a `Report` as JSON, which costs least to
   * pass on. With it comes what is new of invocations whose logs are kept, by their script's id.
   */
  report(report: string, kept: Record<string, KeptLogs>): Promise<void>;
  /** Has spans exported, whose number is given: a member of OTLP's `resourceSpans`, as JSON. */
  exportSpans(resourceSpans: string, spans: number): Promise<void>;
  /** Grants invocations of a script that has budgets, or says until when there are none. */
  leaseInvocations(accountId: string, request: LeaseRequest): Promise<Lease>;
  /**
   * Shows finished invocations, each a `TraceData` as JSON, to the sessions of `wrangler tail` of the script.
   * `missed`: how many more there were.
   */
  showTraces(scriptId: string, items: string[], missed: number): Promise<void>;
}

/** Holds what users can make slow: the SQL of their databases. */
export interface ShardRole {
  /** Returns when the role can serve. */
  ready(): Promise<void>;
  /** Runs the statements in one transaction, all or none. */
  query(databaseId: string, statements: Statement[]): Promise<QueryOutcome>;
  /** Runs SQL text of any number of statements in one transaction. */
  execute(databaseId: string, sql: string): Promise<QueryOutcome>;
  /** Runs SQL text of any length in one transaction, while other calls wait. */
  import(databaseId: string, sql: ReadableStream<Uint8Array>): Promise<ImportOutcome>;
  /** The database as SQL text, in pieces; other calls wait until they have been read. */
  dump(databaseId: string, options: DumpOptions): Promise<DumpOutcome>;
  /** Size in bytes and number of tables. */
  info(databaseId: string): Promise<{ sizeBytes: number; tables: number }>;
  /** Removes the database's data for good. */
  destroy(databaseId: string): Promise<void>;
  /** Has changes of the feed's tables sent to queues from now on, and of no others. */
  subscribe(feed: Feed): Promise<void>;
}

/** Runs users' code. Holds nothing that matters. */
export interface ExecutorRole {
  /** Returns when the role can be reached. */
  ready(): Promise<void>;
  /** Forgets what it remembers of hosts and scripts; called after every change of the catalog. */
  invalidate(): Promise<void>;
  /** What it holds at the moment. When this returns, it has reported all that it had counted. */
  sample(): Promise<ExecutorSample>;
  /** Gives a batch to the `queue()` handler of the account's script. */
  handleQueue(accountId: string, scriptName: string, batch: DeliveredBatch): Promise<QueueOutcome>;
  /**
   * Runs the `scheduled()` handler of the account's script. `noRetry` is called when the handler says
   * that it must not run again, whatever happens to it.
   */
  handleScheduled(
    accountId: string,
    scriptName: string,
    event: ScheduledEvent,
    noRetry: () => Promise<void>,
  ): Promise<EventOutcome>;
  /**
   * Gives back all that it was granted of the account's invocations, but for what it has spent, and takes
   * nothing any more that was granted before this turn. With `flush`, when state knows of all that has ended.
   */
  returnInvocations(accountId: string, turn: number, flush: boolean): Promise<Returned>;
  /** Sends the request as if a worker of the account did; the status of the answer. Rejects if there is none. */
  callWebhook(accountId: string, webhook: Webhook): Promise<number>;
  /** Gives finished invocations of others to the `tail()` handler of the account's script. */
  handleTail(accountId: string, scriptName: string, items: Traced[]): Promise<EventOutcome>;
}

/** An executor in which scripts take turns; called by other executors. */
export interface LaneRole extends ExecutorRole {
  /**
   * Waits until an invocation of the script may come. `false`: not now, ask again. `busy`: too many ask.
   */
  takeTurn(scriptId: string): Promise<{ processId: string } | false | "busy">;
  /** Another one each time that it is started. */
  processId(): Promise<string>;
  handleFetch(call: LaneCall, request: Request): Promise<Response>;
  /** The same for a request that carries its `LaneCall`. */
  fetch(request: Request): Promise<Response>;
  /** Calls a method of an entrypoint; rejects with what it throws. */
  callMethod(
    target: ScriptTarget,
    version: VersionTarget,
    entrypoint: Entrypoint,
    method: string,
    args: unknown[],
  ): Promise<unknown>;
}

/** Runs users' code for the first time, where an endless loop hurts nobody. */
export interface QuarantineRole {
  /** Starts an isolate without bindings and reports what became of it. */
  start(source: IsolateSource): Promise<StartReport>;
}

/** `error` is set if start-up failed: the message and the stack with the user's file names. */
export type StartReport =
  { ok: true; startupTimeMs: number; handlers: string[] } | { ok: false; error: string };

// Loopback stubs and bindings of other processes have the same methods; workers-types cannot say
// so for interfaces that pass streams and targets, hence one cast here and none elsewhere.
const role = <T>(stub: unknown): T => stub as T;

interface Exports {
  State: unknown;
  Shard: unknown;
  Executor: unknown;
  Quarantine: unknown;
}
/** The context of an entrypoint or of a Durable Object. */
type Context = Pick<ExecutionContext | DurableObjectState, "exports">;
const loopback = (ctx: Context): Exports => ctx.exports as unknown as Exports;

export const stateOf = (env: Env, ctx: Context): StateRole =>
  role(env.STATE ?? loopback(ctx).State);
/** The shard of this number, counted from 1. */
export const shardOf = (env: Env, ctx: Context, shard: number): ShardRole =>
  role(env[`SHARD_${shard}`] ?? loopback(ctx).Shard);
/** All shards. */
export function shardsOf(env: Env, ctx: Context): ShardRole[] {
  let count = 1;
  while (env[`SHARD_${count + 1}`]) count++;
  return Array.from({ length: count }, (_, index) => shardOf(env, ctx, index + 1));
}
/** All executors that events are spread over. */
export function executorsOf(env: Env, ctx: Context): ExecutorRole[] {
  const count = Number(env.MAYFLY_EXECUTORS ?? 0);
  if (count === 0) return [role(loopback(ctx).Executor)];
  return Array.from({ length: count }, (_, index) => role(env[`EXECUTOR_${index + 1}`]));
}
/** The lanes, as state calls them: a lane that has nothing to do is not there, and the call fails. */
export function lanesOf(env: Env): ExecutorRole[] {
  const lanes = [env.EXECUTOR_APART, env.EXECUTOR_LONG].filter((lane) => lane !== undefined);
  return lanes.map((lane) => role<ExecutorRole>(lane));
}

let turn = 0;

/** The executor whose turn it is: events are spread over all. */
export function executorOf(env: Env, ctx: Context): ExecutorRole {
  const executors = executorsOf(env, ctx);
  turn = (turn + 1) % executors.length;
  return executors[turn] as ExecutorRole;
}
export const quarantineOf = (env: Env, ctx: Context): QuarantineRole =>
  role(env.QUARANTINE ?? loopback(ctx).Quarantine);
