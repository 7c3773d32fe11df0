import { RpcTarget, WorkerEntrypoint } from "cloudflare:workers";
import { KvStore } from "../bindings/kv/store.ts";
import { R2Store } from "../bindings/r2/store.ts";
import { saveInvocations } from "../catalog/invocations.ts";
import { prepareCatalog } from "../catalog/migrate.ts";
import { findHost, findScript } from "../catalog/lookup.ts";
import type { HostTable, ScriptTarget } from "../catalog/routing.ts";
import { loadSource } from "../catalog/load-source.ts";
import type { IsolateSource } from "../catalog/source.ts";
import { control } from "../control/app.ts";
import type { Env } from "../env.ts";
import type { Invocation } from "../pipeline/record.ts";
import type { StateRole } from "./contract.ts";

/** The state role: see `StateRole` for what each method promises. */
export class State extends WorkerEntrypoint<Env> implements StateRole {
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

  kv(namespaceId: string): KvStore & RpcTarget {
    return new KvStore(this.env, namespaceId);
  }

  r2(accountId: string, bucketName: string): R2Store & RpcTarget {
    return new R2Store(this.env, accountId, bucketName);
  }

  async record(invocations: Invocation[]): Promise<void> {
    await saveInvocations(this.env.CATALOG, invocations);
  }
}
