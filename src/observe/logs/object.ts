import { DurableObject } from "cloudflare:workers";
import type { Env } from "../../env.ts";
import type { KeptLogs } from "./kept-row.ts";
import type { LogsPage, LogsQuery } from "./protocol.ts";
import { readPage } from "./read.ts";
import { LogsStore } from "./store.ts";

const DAY_MS = 24 * 60 * 60_000;
const MiB = 1024 * 1024;
// So that it is not a few at every report.
const TRIMMED_SHARE = 0.05;
/** Invocations deleted before others in its process get their turn. */
const SLICE = 1_000;
const SLICE_PAUSE_MS = 20;
// What is too old goes in groups.
const MIN_ALARM_MS = 60_000;

/** The kept logs of one script; named by its id. */
export class LogsObject extends DurableObject<Env> {
  #opened: LogsStore | undefined;
  readonly #maxAgeMs: number;
  readonly #maxBytes: number;
  #alarmAt: number | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#maxAgeMs = Number(env.MAYFLY_LOG_DAYS || 7) * DAY_MS;
    this.#maxBytes = Number(env.MAYFLY_LOG_MB || 100) * MiB;
  }

  /** Adds what a report brings, once however often it comes. */
  async store(reportId: string, kept: KeptLogs): Promise<void> {
    // As a whole or not at all, so that it can be tried again.
    this.ctx.storage.transactionSync(() => this.#store.add(reportId, kept));
    await this.#trim();
  }

  async list(query: LogsQuery): Promise<LogsPage> {
    return readPage(this.#store, query);
  }

  /** The script is gone. */
  async destroy(): Promise<void> {
    this.#opened = undefined;
    this.#alarmAt = undefined;
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
  }

  // Whoever has nothing to keep needs no tables.
  get #store(): LogsStore {
    return (this.#opened ??= new LogsStore(this.ctx.storage.sql));
  }

  override async alarm(): Promise<void> {
    this.#alarmAt = undefined;
    await this.#trim();
    // Their tables take some space as well.
    if (this.#store.isEmpty()) await this.destroy();
  }

  /** Deletes some of what is too old or too much, and comes back for the rest. */
  async #trim(): Promise<void> {
    const now = Date.now();
    const { bytes } = this.#store.totals();
    const tooMuch = bytes > this.#maxBytes ? bytes - this.#maxBytes * (1 - TRIMMED_SHARE) : 0;
    const oldest = this.#store.oldest();
    if (oldest === undefined) return;
    const before = now - this.#maxAgeMs;
    const more =
      (tooMuch > 0 || oldest < before) && this.#store.deleteOldest(before, tooMuch, SLICE);
    const alarmAt = more
      ? now + SLICE_PAUSE_MS
      : Math.max(oldest + this.#maxAgeMs, now + MIN_ALARM_MS);
    if (this.#alarmAt !== undefined && this.#alarmAt <= alarmAt) return;
    this.#alarmAt = alarmAt;
    await this.ctx.storage.setAlarm(alarmAt);
  }
}
