import { RpcTarget, WorkerEntrypoint } from "cloudflare:workers";
import type { EgressRules } from "../bindings/egress/rules.ts";
import { KvStore } from "../bindings/kv/store.ts";
import { backlogOf, enqueue, sendMessages } from "../bindings/queue/enqueue.ts";
import type { Backlog, NewMessage } from "../bindings/queue/protocol.ts";
import { R2Store } from "../bindings/r2/store.ts";
import { findEgressRules } from "../catalog/egress-rules.ts";
import { prepareCatalog } from "../catalog/migrate.ts";
import { findHost, findScript } from "../catalog/lookup.ts";
import type { HostTable, ScriptTarget } from "../catalog/routing.ts";
import { loadSource } from "../catalog/load-source.ts";
import type { IsolateSource } from "../catalog/source.ts";
import { control } from "../control/app.ts";
import { identify } from "../control/auth.ts";
import type { Env } from "../env.ts";
import type { KeptLogs } from "../observe/logs/kept-row.ts";
import { storeLogs } from "../observe/logs/logs-of.ts";
import { collect, countReport } from "../observe/metrics/collect.ts";
import { exportSpans } from "../observe/traces/export.ts";
import { askShards } from "../observe/shards.ts";
import { tailsOf } from "../observe/tail/tails-of.ts";
import { storeNative } from "../triggers/native-queue.ts";
import { wakeTriggers } from "../triggers/wake.ts";
import { addToBudgets, budgetsOf } from "../usage/budgets/budgets-of.ts";
import type { Lease, LeaseRequest } from "../usage/budgets/protocol.ts";
import { addUsage } from "../usage/ledger.ts";
import { rollUpNowAndThen } from "../usage/roll-up.ts";
import type { Report } from "../usage/report.ts";
import type { StateRole } from "./contract.ts";
import { forward } from "./forward.ts";

/** The state role: see `StateRole` for what each method promises. */
export class State extends WorkerEntrypoint<Env> implements StateRole {
  async ready(): Promise<void> {
    await prepareCatalog(this.env);
    this.ctx.waitUntil(wakeTriggers(this.env, this.ctx));
    const silent = (await askShards(this.env, this.ctx)).indexOf(false);
    if (silent >= 0) throw new Error(`shard ${silent + 1} does not answer`);
  }

  override async fetch(request: Request): Promise<Response> {
    await prepareCatalog(this.env);
    return control.fetch(request, this.env, this.ctx);
  }

  async resolveHost(host: string): Promise<HostTable | undefined> {
    await prepareCatalog(this.env);
    return findHost(this.env, host);
  }

  async resolveScript(accountId: string, scriptName: string): Promise<ScriptTarget | undefined> {
    return findScript(this.env.CATALOG, accountId, scriptName);
  }

  async loadVersion(versionId: string): Promise<IsolateSource | undefined> {
    return loadSource(this.env, versionId);
  }

  async egressRules(accountId: string): Promise<EgressRules | undefined> {
    return findEgressRules(this.env.CATALOG, accountId);
  }

  kv(accountId: string, namespaceId: string): KvStore & RpcTarget {
    return new KvStore(this.env, accountId, namespaceId);
  }

  r2(accountId: string, bucketName: string): R2Store & RpcTarget {
    return new R2Store(this.env, accountId, bucketName);
  }

  async sendMessages(
    accountId: string,
    queueName: string,
    messages: NewMessage[],
  ): Promise<Backlog> {
    return sendMessages(this.env, accountId, queueName, messages);
  }

  async queueBacklog(accountId: string, queueName: string): Promise<Backlog> {
    return backlogOf(this.env, accountId, queueName);
  }

  async enqueue(queueId: string, messages: NewMessage[]): Promise<boolean> {
    return enqueue(this.env, queueId, messages, "database");
  }

  async metrics(token: string): Promise<string | undefined> {
    await prepareCatalog(this.env);
    const principal = await identify(this.env, token);
    return principal && collect(principal, this.env, this.ctx);
  }

  async takeNative(queueName: string, messages: NewMessage[]): Promise<boolean> {
    return storeNative(this.env, queueName, messages);
  }

  async report(report: string, kept: Record<string, KeptLogs>): Promise<void> {
    const parsed = JSON.parse(report) as Report;
    const { id, usage } = parsed;
    if (await addUsage(this.env.CATALOG, id, usage)) countReport(parsed, this.env);
    await addToBudgets(this.env, id, usage);
    this.ctx.waitUntil(rollUpNowAndThen(this.env.CATALOG));
    await storeLogs(this.env, id, kept);
  }

  async exportSpans(resourceSpans: string, spans: number): Promise<void> {
    exportSpans({ text: resourceSpans, spans }, this.env, this.ctx);
  }

  leaseInvocations(accountId: string, request: LeaseRequest): Promise<Lease> {
    return forward<Lease>(budgetsOf(this.env, accountId).lease(request));
  }

  async showTraces(scriptId: string, items: string[], missed: number): Promise<void> {
    await tailsOf(this.env, scriptId).show(items, missed);
  }
}
