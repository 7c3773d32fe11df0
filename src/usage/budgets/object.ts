import { DurableObject } from "cloudflare:workers";
import {
  listBudgets,
  usedSince,
  type StoredBudget,
  type UsedBefore,
} from "../../catalog/budgets.ts";
import { prepareCatalog } from "../../catalog/migrate.ts";
import { tellExecutors } from "../../control/invalidate.ts";
import type { Env } from "../../env.ts";
import { executorsOf, lanesOf, type ExecutorRole } from "../../roles/contract.ts";
import { receive } from "../../roles/forward.ts";
import type { Usage } from "../meter.ts";
import {
  countersOf,
  findCounter,
  isCap,
  isOver,
  scopeOf,
  usedOf,
  type WantedCounter,
} from "./counting.ts";
import { endOf, startOf } from "./period.ts";
import type { BudgetUse, Lease, LeaseRequest } from "./protocol.ts";
import { BudgetStore, type LeaseRow } from "./store.ts";
import { Warnings } from "./warnings.ts";

/** What an executor has not spent by then it must ask for again. */
const LEASE_MS = 10_000;
/** Executors that do not answer are not waited for any longer. */
const RECALL_MS = 2_000;
/** Until somebody is asked again who did not answer and holds something. */
const ASK_AGAIN_MS = 1_000;
/** How often what others hold is taken back for one that has nothing. Others may be faster each time. */
const MAX_RECALLS = 10;

/** How many invocations of a script may begin now. */
interface Allowance {
  count: number;
  /** Until when, in milliseconds since 1970. */
  until: number;
  /** Budgets that let through so many a second; names. */
  throttles: string[];
  /** If none may: when that may change by itself. */
  retryAt: number;
  /** Scopes of the caps that are reached: what executors still hold of them could be taken back. */
  caps: string[];
  /** Other reasons why none may. */
  hopeless: boolean;
}

/**
 * What an account and its scripts may still use. Named by the account's id.
 *
 * Executors begin invocations of scripts that have budgets from leases: numbers of invocations that are
 * stored here as used before they are granted. An executor says what it has spent when it asks for more.
 * Before anybody is refused, what others hold and have not spent is taken back. What a process held when it
 * ended counts as used until the period ends, as nobody knows how much of it was.
 */
export class BudgetObject extends DurableObject<Env> {
  readonly #store: BudgetStore;
  readonly #warnings: Warnings;
  readonly #accountId: string;
  #budgets: StoredBudget[] = [];
  /** How often the catalog's budgets have changed. */
  #changes = 0;
  #loaded = false;
  #prepared = false;
  #preparing: Promise<void> | undefined;
  /** While it is read what was used before: reports that come meanwhile wait. */
  #reading: Promise<unknown> | undefined;
  #recalling: Promise<boolean> | undefined;
  /** Scopes of caps of which somebody was told not to ask before the period ends. */
  readonly #refused = new Set<string>();
  /** Budgets known to be used up, whose leases have been taken back. */
  readonly #over = new Set<string>();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#accountId = ctx.id.name ?? "";
    this.#store = new BudgetStore(ctx.storage.sql);
    this.#warnings = new Warnings(env, ctx);
  }

  /** See `StateRole.leaseInvocations`. */
  async lease(request: LeaseRequest): Promise<Lease> {
    await this.#prepare();
    for (let recalls = 0; ; recalls++) {
      while (this.#recalling) await this.#recalling;
      const now = Date.now();
      const [lease, allowance] = this.#grant(request, now);
      if (!lease.refused) return lease;
      const { caps, hopeless } = allowance;
      if (hopeless || caps.some((scope) => this.#store.held(scope) === 0)) {
        for (const scope of caps) this.#refused.add(scope);
        return lease;
      }
      if (recalls === MAX_RECALLS || !(await this.#recall(false))) {
        return { ...lease, refused: { ...lease.refused, until: Date.now() + ASK_AGAIN_MS } };
      }
    }
  }

  /** Adds what a report tells, once however often it comes. */
  async add(reportId: string, usage: Usage[]): Promise<void> {
    await this.#reading;
    const now = Date.now();
    this.ctx.storage.transactionSync(() => {
      this.#store.beginPeriods(now);
      if (!this.#store.isNew(reportId, now)) return;
      for (const { scriptName, minute, invocations, cpuTimeUs } of usage) {
        this.#store.add(scriptName, minute, invocations, cpuTimeUs);
      }
    });
    await this.#load();
    this.#look(now);
  }

  /** The catalog's budgets have changed. */
  async refresh(): Promise<void> {
    await this.#preparing?.catch(() => undefined);
    this.#changes++;
    this.#loaded = false;
    this.#prepared = false;
    this.#over.clear();
    await this.#prepare();
    this.#warnings.dropOthers(this.#budgets.map(({ name }) => name));
    this.#look(Date.now());
  }

  /** How each budget stands. */
  async uses(): Promise<BudgetUse[]> {
    await this.#prepare();
    // Only then it is known what executors have spent.
    if (this.#store.held("") > 0) await this.#recall(false);
    const now = Date.now();
    this.#store.beginPeriods(now);
    this.#look(now);
    const counters = this.#store.counters();
    return this.#budgets.map((budget) => ({
      name: budget.name,
      used: usedOf(budget, counters, this.#store.held(scopeOf(budget))),
      periodStart: startOf(budget.period, now),
      periodEnd: endOf(budget.period, now),
    }));
  }

  override async alarm(): Promise<void> {
    await this.#warnings.send();
  }

  #grant(request: LeaseRequest, now: number): [Lease, Allowance] {
    const { processId, scriptId, scriptName, number, wanted } = request;
    const granted = this.ctx.storage.transactionSync((): [Lease, Allowance] => {
      this.#store.beginPeriods(now);
      this.#store.find(processId);
      const row = this.#store.lease(processId, scriptId);
      if (row && row.number > number) throw new Error("The process has asked again meanwhile");
      const spent = row ? Math.min(request.spent, row.granted) : request.spent;
      if (row) this.#settle(row, spent);
      const allowance = this.#allowance(scriptName, now);
      const count = Math.min(wanted, allowance.count);
      this.#store.charge(scriptName, count, now);
      for (const budget of allowance.throttles) {
        this.#store.throttle(budget, Math.floor(now / 1000), count);
      }
      this.#store.putLease({ ...request, spent }, spent + count, now);
      const lease: Lease = {
        granted: spent + count,
        until: Math.min(allowance.until, now + LEASE_MS),
        turn: this.#store.turn(),
      };
      if (count === 0 && wanted > 0) {
        const { retryAt } = allowance;
        lease.refused = { retryAt, until: retryAt };
      }
      return [lease, allowance];
    });
    this.#look(now);
    return granted;
  }

  #allowance(scriptName: string, now: number): Allowance {
    const counters = this.#store.counters();
    const executors = this.#executors().length;
    // As much as all others may want at this moment stays, so that near the end leases get small.
    const share = (left: number): number => Math.max(1, Math.floor(left / (2 * executors)));
    const allowance: Allowance = {
      count: Infinity,
      until: Infinity,
      throttles: [],
      retryAt: 0,
      caps: [],
      hopeless: false,
    };
    for (const budget of this.#budgets) {
      const { name, period, action, amount, throttlePerSecond = 0 } = budget;
      if (action === "warn" || (budget.scriptName ?? scriptName) !== scriptName) continue;
      const periodEnd = endOf(period, now);
      allowance.until = Math.min(allowance.until, periodEnd);
      const left = amount - usedOf(budget, counters, 0);
      if (left > 0) {
        if (isCap(budget)) allowance.count = Math.min(allowance.count, share(left));
        continue;
      }
      if (action === "stop") {
        allowance.count = 0;
        allowance.retryAt = Math.max(allowance.retryAt, periodEnd);
        if (isCap(budget)) allowance.caps.push(scopeOf(budget));
        else allowance.hopeless = true;
        continue;
      }
      const second = Math.floor(now / 1000);
      const room = throttlePerSecond - this.#store.throttled(name, second);
      const secondEnd = (second + 1) * 1000;
      allowance.throttles.push(name);
      allowance.until = Math.min(allowance.until, secondEnd);
      if (room > 0) allowance.count = Math.min(allowance.count, share(room));
      else {
        allowance.count = 0;
        allowance.retryAt = Math.max(allowance.retryAt, secondEnd);
        allowance.hopeless = true;
      }
    }
    return allowance;
  }

  /** What the process was granted and has not spent is free again. */
  #settle(row: LeaseRow, spent: number): void {
    this.#store.settle(row, spent);
    const refused = this.#refused.has("") || this.#refused.has(row.scriptName);
    if (spent === row.granted || !refused) return;
    // Those that were refused remember it, and would not ask for what there is again.
    this.#refused.clear();
    this.ctx.waitUntil(tellExecutors(this.env, this.ctx));
  }

  /**
   * Takes back from all executors what they have not spent; whether all have answered. With `flush` they
   * report all that has ended before they answer.
   */
  async #recall(flush: boolean): Promise<boolean> {
    while (this.#recalling) {
      const all = await this.#recalling;
      if (!flush) return all;
    }
    this.#recalling = this.#takeBack(flush).finally(() => (this.#recalling = undefined));
    return this.#recalling;
  }

  async #takeBack(flush: boolean): Promise<boolean> {
    const turn = this.#store.nextTurn();
    const answers = await Promise.all(
      this.#executors().map((executor) => {
        const returned = receive(executor.returnInvocations(this.#accountId, turn, flush));
        // Whoever is not there holds nothing.
        const known = returned.catch(() => undefined);
        return Promise.race([known, scheduler.wait(RECALL_MS).then(() => "late" as const)]);
      }),
    );
    const allAsked = !answers.includes("late");
    const answered = answers.filter((answer) => answer !== undefined && answer !== "late");
    this.ctx.storage.transactionSync(() => {
      for (const { processId, spent } of answered) {
        this.#store.find(processId);
        for (const { scriptId, spent: count } of spent) {
          const row = this.#store.lease(processId, scriptId);
          if (row) this.#settle(row, Math.min(count, row.granted));
        }
      }
      if (!allAsked) return;
      // A process that is gone, or that serves only what it has begun.
      this.#store.loseOthers(
        answered.map(({ processId }) => processId),
        Date.now(),
      );
    });
    return allAsked;
  }

  #executors(): ExecutorRole[] {
    return [...executorsOf(this.env, this.ctx), ...lanesOf(this.env)];
  }

  /** Sees to it that there is a counter for every budget. */
  async #prepare(): Promise<void> {
    while (!this.#prepared) {
      this.#preparing ??= this.#makeCounters().finally(() => (this.#preparing = undefined));
      await this.#preparing;
    }
  }

  async #load(): Promise<void> {
    while (!this.#loaded) {
      const changes = this.#changes;
      await prepareCatalog(this.env);
      const budgets = await listBudgets(this.env.CATALOG, this.#accountId);
      // What was read before a change must not be taken for what is there after it.
      if (changes !== this.#changes) continue;
      this.#budgets = budgets;
      this.#loaded = true;
    }
  }

  async #makeCounters(): Promise<void> {
    await this.#load();
    const now = Date.now();
    const wanted = countersOf(this.#budgets);
    this.ctx.storage.transactionSync(() => {
      this.#store.beginPeriods(now);
      for (const counter of this.#store.counters()) {
        const same = findCounter(wanted, counter);
        if (!same) this.#store.deleteCounter(counter);
        else if (!same.caps) this.#store.putCounter({ ...counter, charged: undefined });
      }
      const starts = this.#store.counters().map(({ start }) => start);
      this.#store.deleteLeasesBefore(Math.min(now, ...starts));
    });
    const known = this.#store.counters();
    const missing = wanted.some((counter) => {
      const same = findCounter(known, counter);
      return !same || (counter.caps && same.charged === undefined);
    });
    if (missing) {
      // What begins from now on is counted by leases, and what has ended until now is in the table of usage.
      await tellExecutors(this.env, this.ctx);
      await this.#recall(true);
      this.#reading = this.#readCounters(wanted);
      await this.#reading.finally(() => (this.#reading = undefined));
    }
    this.#prepared = true;
  }

  async #readCounters(wanted: WantedCounter[]): Promise<void> {
    const begun = Date.now();
    const { sums, reportIds } = await usedSince(
      this.env.CATALOG,
      this.#accountId,
      wanted.map(({ scope, period }) => ({
        scriptName: scope || undefined,
        since: startOf(period, begun),
      })),
    );
    const now = Date.now();
    this.ctx.storage.transactionSync(() => {
      const known = this.#store.counters();
      this.#store.remember(reportIds, now);
      for (const [index, { scope, period, caps }] of wanted.entries()) {
        const { invocations, cpuUs } = sums[index] as UsedBefore["sums"][number];
        const same = findCounter(known, { scope, period });
        const charged = same?.charged;
        this.#store.putCounter({
          scope,
          period,
          start: startOf(period, begun),
          charged: caps ? (charged ?? invocations) : undefined,
          chargedSince: charged === undefined ? now : (same?.chargedSince ?? now),
          invocations,
          cpuUs,
        });
      }
    });
  }

  /** Warns of budgets of which much is used, and takes back the leases of those that are used up. */
  #look(now: number): void {
    const counters = this.#store.counters();
    for (const budget of this.#budgets) {
      const used = usedOf(budget, counters, this.#store.held(scopeOf(budget)));
      this.#warnings.look(budget, used, now);
      const key = `${budget.name} ${startOf(budget.period, now)}`;
      if (isCap(budget) || budget.action === "warn" || !isOver(budget, used)) continue;
      if (this.#over.has(key)) continue;
      this.#over.add(key);
      this.ctx.waitUntil(this.#recall(false));
    }
  }
}
