import { findWebhook } from "../../catalog/budgets.ts";
import { randomHex } from "../../catalog/crypto.ts";
import type { Env } from "../../env.ts";
import { log } from "../../observe/log.ts";
import { executorOf } from "../../roles/contract.ts";
import { endOf, startOf } from "./period.ts";
import type { Budget } from "./protocol.ts";
import { signedWebhook } from "./webhook.ts";

/** A failed message is sent again after so long, then twice as long each time, */
const FIRST_PAUSE_MS = 2_000;
const MAX_PAUSE_MS = 60 * 60_000;
/** for a day. */
const GIVE_UP_MS = 24 * 60 * 60_000;
/** A little longer than what the executor gives the host. */
const SEND_MS = 15_000;
/** Longer than any period: until then it is known of what has been warned. */
const KEPT_MS = 62 * 24 * 60 * 60_000;

// Without due_at it is over, or there was nobody to send it to.
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS warnings (
    message_id TEXT PRIMARY KEY,
    budget TEXT NOT NULL,
    amount REAL NOT NULL,
    period_start INTEGER NOT NULL,
    share REAL NOT NULL,
    body TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    due_at INTEGER,
    tries INTEGER NOT NULL DEFAULT 0,
    UNIQUE (budget, amount, period_start, share)
  );
  CREATE INDEX IF NOT EXISTS warnings_due ON warnings (due_at) WHERE due_at IS NOT NULL;
`;

type Row = { id: string; budget: string; body: string; madeAt: number; tries: number };

/**
 * Tells whoever is to be told that much of a budget is used, or all of it: once for each share, amount and
 * period, by the object's alarm, so that a message that could not be sent is sent later.
 */
export class Warnings {
  readonly #env: Env;
  readonly #ctx: DurableObjectState;
  // What has been found out is not looked up again: the greatest share by budget, amount and period.
  readonly #told = new Map<string, number>();

  constructor(env: Env, ctx: DurableObjectState) {
    this.#env = env;
    this.#ctx = ctx;
    ctx.storage.sql.exec(SCHEMA);
  }

  /** Warns if so much is used that somebody is to be told of it, and was not yet. */
  look(budget: Budget, used: number, now: number): void {
    const { name, amount, period, warnAt } = budget;
    const start = startOf(period, now);
    const reached = [...warnAt, 1].filter((share) => used >= share * amount);
    const key = `${name} ${amount} ${start}`;
    const greatest = Math.max(...reached);
    if (reached.length === 0 || (this.#told.get(key) ?? 0) >= greatest) return;
    this.#told.set(key, greatest);
    for (const share of new Set(reached)) this.#warn(budget, used, share, now);
  }

  /** Of budgets other than these there is nothing to tell any more. */
  dropOthers(budgets: string[]): void {
    this.#told.clear();
    this.#ctx.storage.sql.exec(
      "DELETE FROM warnings WHERE budget NOT IN (SELECT value FROM json_each(?))",
      JSON.stringify(budgets),
    );
  }

  #warn(budget: Budget, used: number, share: number, now: number): void {
    const { name, scriptName, unit, amount, period, action, webhook } = budget;
    const { sql } = this.#ctx.storage;
    const account = this.#ctx.id.name;
    const start = startOf(period, now);
    const body = JSON.stringify({
      type: share === 1 ? "budget.exhausted" : "budget.warning",
      timestamp: new Date(now).toISOString(),
      data: {
        account_id: account,
        budget: name,
        script: scriptName ?? null,
        limit: { [unit]: amount },
        period,
        period_start: new Date(start).toISOString(),
        period_end: new Date(endOf(period, now)).toISOString(),
        action,
        share,
        used,
      },
    });
    sql.exec("DELETE FROM warnings WHERE made_at < ?", now - KEPT_MS);
    const { rowsWritten } = sql.exec(
      `INSERT OR IGNORE INTO warnings (message_id, budget, amount, period_start, share, body, made_at, due_at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      `msg_${randomHex(16)}`,
      name,
      amount,
      start,
      share,
      body,
      now,
      webhook === undefined ? null : now,
    );
    if (rowsWritten === 0) return;
    log("warn", "budget_used", { account, budget: name, script: scriptName, share, used, action });
    if (webhook !== undefined) void this.#ctx.storage.setAlarm(now);
  }

  /** Sends what is due; what cannot be sent now comes again. To be called by the object's alarm. */
  async send(): Promise<void> {
    const { storage } = this.#ctx;
    const due = storage.sql
      .exec<Row>(
        `SELECT message_id AS id, budget, body, made_at AS madeAt, tries FROM warnings
        WHERE due_at <= ?`,
        Date.now(),
      )
      .toArray();
    await Promise.all(due.map((row) => this.#sendOne(row)));
    const [next] = storage.sql.exec<{ at: number | null }>(
      "SELECT min(due_at) AS at FROM warnings",
    );
    if (next?.at) await storage.setAlarm(next.at);
  }

  async #sendOne({ id, budget, body, madeAt, tries }: Row): Promise<void> {
    const failure = await this.#post(id, budget, body).catch(String);
    const now = Date.now();
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** tries, MAX_PAUSE_MS);
    const over = failure === undefined || now + pauseMs > madeAt + GIVE_UP_MS;
    this.#ctx.storage.sql.exec(
      "UPDATE warnings SET due_at = ?, tries = tries + 1 WHERE message_id = ?",
      over ? null : now + pauseMs,
      id,
    );
    if (failure === undefined) return;
    const account = this.#ctx.id.name;
    log("warn", "webhook_failed", { account, budget, id, tries: tries + 1, over, failure });
  }

  /** Why it failed; undefined if it did not, or if nobody wants it any more. */
  async #post(id: string, budget: string, body: string): Promise<string | undefined> {
    const account = this.#ctx.id.name ?? "";
    const webhook = await findWebhook(this.#env, account, budget);
    if (!webhook) return undefined;
    const { url, secret } = webhook;
    const signed = await signedWebhook(url, secret, id, body, Date.now());
    const status = await Promise.race([
      executorOf(this.#env, this.#ctx).callWebhook(account, signed),
      scheduler.wait(SEND_MS).then(() => "no answer in time" as const),
    ]);
    if (typeof status === "string") return status;
    return status >= 200 && status < 300 ? undefined : `status ${status}`;
  }
}
