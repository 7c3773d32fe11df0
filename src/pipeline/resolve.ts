import type { EgressRules } from "../bindings/egress/rules.ts";
import { pickRoute } from "../catalog/route-pattern.ts";
import type { HostTable, ScriptTarget, VersionTarget } from "../catalog/routing.ts";
import type { Env } from "../env.ts";
import { histogram, timed } from "../observe/metrics/counters.ts";
import { askState } from "../roles/ask-state.ts";
import { stateOf } from "../roles/contract.ts";

// Changes are told by `forgetRoutes` where all roles share a machine. At the edge they are not, so
// there a host is looked up again, behind a request that is answered from memory, after a second.
const FRESH_MS = { workerd: 30_000, edge: 1_000 } as const;
const STALE_MS = 60_000;
// Unknown hosts are remembered too, so the number is bounded.
const MAX_REMEMBERED = 20_000;

const calls = histogram("mayfly_state_call_duration_seconds", { call: "resolve" });

interface Remembered<T> {
  value: T;
  at: number;
  refreshing: boolean;
}

const hosts = new Map<string, Remembered<HostTable | undefined>>();
const scripts = new Map<string, Remembered<ScriptTarget | undefined>>();
const egressRules = new Map<string, Remembered<EgressRules | undefined>>();
// Grows with each change: what was asked before it must not be remembered after it.
let epoch = 0;

/** Forgets all routes, scripts and egress rules; the next event of each looks it up. */
export function forgetRoutes(): void {
  epoch++;
  hosts.clear();
  scripts.clear();
  egressRules.clear();
}

/** What is served under the host, from memory if possible. */
export function resolveHost(
  host: string,
  env: Env,
  ctx: ExecutionContext,
): HostTable | undefined | Promise<HostTable | undefined> {
  return recall(hosts, host, env, ctx, () => stateOf(env, ctx).resolveHost(host));
}

/** The account's script of that name, from memory if possible. */
export function resolveScript(
  accountId: string,
  scriptName: string,
  env: Env,
  ctx: ExecutionContext,
): ScriptTarget | undefined | Promise<ScriptTarget | undefined> {
  return recall(scripts, `${accountId}/${scriptName}`, env, ctx, () =>
    stateOf(env, ctx).resolveScript(accountId, scriptName),
  );
}

/** Which hosts the account's workers may call, from memory if possible; undefined if all. */
export function resolveEgressRules(
  accountId: string,
  env: Env,
  ctx: ExecutionContext,
): EgressRules | undefined | Promise<EgressRules | undefined> {
  return recall(egressRules, accountId, env, ctx, () => stateOf(env, ctx).egressRules(accountId));
}

function recall<T>(
  memory: Map<string, Remembered<T>>,
  key: string,
  env: Env,
  ctx: ExecutionContext,
  lookUp: () => Promise<T>,
): T | Promise<T> {
  const remembered = memory.get(key);
  if (!remembered) return learn(memory, key, lookUp);
  const age = Date.now() - remembered.at;
  if (age < FRESH_MS[env.MAYFLY_RUNTIME]) return remembered.value;
  if (age > STALE_MS) return learn(memory, key, lookUp);
  if (!remembered.refreshing) {
    remembered.refreshing = true;
    ctx.waitUntil(learn(memory, key, lookUp).finally(() => (remembered.refreshing = false)));
  }
  return remembered.value;
}

async function learn<T>(
  memory: Map<string, Remembered<T>>,
  key: string,
  lookUp: () => Promise<T>,
): Promise<T> {
  const begun = Date.now();
  let asked = epoch;
  const ask = (): Promise<T> => {
    asked = epoch;
    return timed(calls, lookUp());
  };
  const value = await askState(ask, () => {
    const remembered = memory.get(key);
    return remembered && remembered.at >= begun ? remembered : undefined;
  });
  if (asked === epoch) {
    if (memory.size >= MAX_REMEMBERED) memory.delete(memory.keys().next().value ?? key);
    memory.set(key, { value, at: Date.now(), refreshing: false });
  }
  return value;
}

/**
 * The script that a request goes to: the first route that matches, else what the host itself serves.
 * `pathAndQuery` begins with a slash.
 */
export function matchRoute(
  table: HostTable,
  scheme: string,
  pathAndQuery: string,
): ScriptTarget | undefined {
  const route = pickRoute(table.routes, scheme, pathAndQuery);
  return route ? route.target : table.fallback;
}

/** One of the deployed versions, as often as its percentage says. */
export function pickVersion(target: ScriptTarget): VersionTarget | undefined {
  const [only] = target.versions;
  if (target.versions.length === 1) return only;
  let point = Math.random() * 100;
  return target.versions.find((version) => (point -= version.percentage) < 0) ?? only;
}
