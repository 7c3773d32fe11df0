import { MessageTable, SLICE } from "./message-table.ts";
import { OrderingGroups } from "./ordering-groups.ts";
import type { Backlog } from "./protocol.ts";
import {
  AT_ONCE,
  type Again,
  type Source,
  type StorableMessage,
  type TakenMessage,
  type Window,
} from "./stored-message.ts";
import { UNORDERED, unorderedReadyAt, visibleRun, visibleUnordered } from "./visible-messages.ts";

/** The messages of one queue: who has them, and what becomes of them. */
export class MessageStore {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;
  readonly #table: MessageTable;
  readonly #groups: OrderingGroups;
  #closed = false;

  /** Opens the store after a start of the object: what its predecessor had taken is there again. */
  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#sql = storage.sql;
    this.#table = new MessageTable(storage);
    this.#groups = new OrderingGroups(this.#sql);
    storage.transactionSync(() => {
      this.#groups.release(AT_ONCE);
      this.#sql.exec(
        `UPDATE messages SET visible_at = ${AT_ONCE} WHERE ${UNORDERED} AND visible_at IS NULL`,
      );
    });
  }

  /** Number of messages: delivered or not, but not acknowledged. */
  get count(): number {
    return this.#table.count;
  }

  get bytes(): number {
    return this.#table.bytes;
  }

  /** The place of the message that was put in last. */
  get lastSeq(): number {
    return this.#table.lastSeq;
  }

  /** The storage is gone: what comes back from deliveries is passed over from now on. */
  close(): void {
    this.#closed = true;
  }

  /** Whether purged messages are still to be removed; until then there is nothing to take. */
  get purging(): boolean {
    return this.#table.purgedSeq > 0 && !this.#closed;
  }

  backlog(): Backlog {
    return this.#table.backlog();
  }

  /** When the oldest message was stored. */
  oldestStoredAt(): number | undefined {
    return this.#table.oldestStoredAt();
  }

  /** Puts messages in, all or none. Those whose id is here already are passed over. */
  insert(messages: StorableMessage[], now: number, window: Window): void {
    this.#storage.transactionSync(() => {
      for (const { orderingKey, visibleAt } of this.#table.insert(messages, now)) {
        if (orderingKey !== undefined) this.#groups.added(orderingKey, visibleAt, window);
      }
    });
  }

  /** What a batch may be made of that is ready first, whether it is already or not. */
  firstSource(window: Window, now: number): Source | undefined {
    if (this.purging) return undefined;
    const group = this.#groups.first();
    const readyAt = unorderedReadyAt(this.#sql, window, now);
    if (readyAt === undefined) return group;
    return group && group.readyAt < readyAt ? group : { key: undefined, readyAt };
  }

  /** Takes messages that are visible for a batch: others do not get them until they are settled. */
  take(key: string | undefined, limit: number, now: number): TakenMessage[] {
    return this.#storage.transactionSync(() => {
      const taken = this.#takeVisible(key, limit, now, null, null);
      if (key !== undefined && taken.length > 0) this.#groups.taken(key);
      return taken;
    });
  }

  /** Takes messages that nobody has, visible or not, in the order in which they were put in. */
  takeAny(afterSeq: number, limit: number, window: Window): TakenMessage[] {
    if (this.purging) return [];
    const seqs = this.#sql.exec<{ seq: number }>(
      `SELECT seq FROM messages WHERE seq > ? AND visible_at IS NOT NULL AND lease IS NULL
        ORDER BY seq LIMIT ?`,
      afterSeq,
      limit,
    );
    return this.#storage.transactionSync(() => {
      const taken = this.#table.take(
        [...seqs].map(({ seq }) => seq),
        null,
        null,
      );
      for (const key of keysOf(taken)) this.#groups.update(key, 0, window);
      return taken;
    });
  }

  /** Takes messages for a pull consumer: they are visible again at `until` unless settled. */
  lease(
    limit: number,
    now: number,
    until: number,
    window: Window,
  ): (TakenMessage & { leaseId: string })[] {
    if (this.purging) return [];
    const secret = crypto.randomUUID().replaceAll("-", "");
    return this.#storage.transactionSync(() => {
      const taken = this.#takeVisible(undefined, limit, now, until, secret);
      while (taken.length < limit) {
        const group = this.#groups.firstVisible(now);
        if (group === undefined) break;
        taken.push(...this.#takeVisible(group, limit - taken.length, now, until, secret));
        this.#groups.update(group, 0, window);
      }
      return taken.map((message) => ({ ...message, leaseId: `${secret}${message.seq}` }));
    });
  }

  #takeVisible(
    key: string | undefined,
    limit: number,
    now: number,
    visibleAt: number | null,
    lease: string | null,
  ): TakenMessage[] {
    const seqs =
      key === undefined
        ? visibleUnordered(this.#sql, limit, now)
        : visibleRun(this.#sql, key, limit, now);
    return this.#table.take(seqs, visibleAt, lease);
  }

  /** What has become of messages taken: gone, to be tried again, or given up. */
  settle(acked: number[], again: Again[], givenUp: number[], window: Window): void {
    if (this.#closed) return;
    this.#storage.transactionSync(() => {
      const touched = new Map<string, number>();
      this.#remove(acked, touched);
      for (const { seq, failures, cuts, visibleAt } of again) {
        if (seq <= this.#table.purgedSeq) continue;
        const [row] = this.#sql.exec<{ ordering_key: string | null }>(
          `UPDATE messages SET visible_at = ?, failures = ?, cuts = coalesce(?, cuts), lease = NULL
            WHERE seq = ? RETURNING ordering_key`,
          visibleAt,
          failures,
          cuts ?? null,
          seq,
        );
        if (typeof row?.ordering_key === "string") tally(touched, row.ordering_key, 0);
      }
      this.#giveUp(
        givenUp.filter((seq) => seq > this.#table.purgedSeq),
        touched,
      );
      for (const [key, removed] of touched) this.#groups.update(key, removed, window);
    });
  }

  /** The messages were not given to anyone after all. */
  putBack(seqs: number[], window: Window): void {
    if (this.#closed) return;
    this.#storage.transactionSync(() => {
      const rows = this.#sql.exec<{ ordering_key: string | null }>(
        `UPDATE messages SET visible_at = ${AT_ONCE}, attempts = attempts - 1
          WHERE seq IN (SELECT value FROM json_each(?)) RETURNING ordering_key`,
        JSON.stringify(seqs.filter((seq) => seq > this.#table.purgedSeq)),
      );
      const keys = [...rows].map((row) => ({ orderingKey: row.ordering_key ?? undefined }));
      for (const key of keysOf(keys)) this.#groups.update(key, 0, window);
    });
  }

  /** The message that a lease is for, unless the lease has ended. */
  leased(leaseId: string, now: number): { seq: number; failures: number } | undefined {
    const lease = leaseId.slice(0, 32);
    const seq = Number(leaseId.slice(32));
    if (!Number.isSafeInteger(seq)) return undefined;
    const [row] = this.#sql.exec<{ seq: number; failures: number }>(
      "SELECT seq, failures FROM messages WHERE seq = ? AND lease = ? AND visible_at > ?",
      seq,
      lease,
      now,
    );
    return row;
  }

  /** Ends the leases that have run out, some at a time: a failed delivery each. */
  endLeases(now: number, maxRetries: number, window: Window): void {
    const ended = [
      ...this.#sql.exec<{ seq: number; failures: number; visible_at: number }>(
        `SELECT seq, failures, visible_at FROM messages WHERE lease IS NOT NULL AND visible_at <= ?
          ORDER BY visible_at LIMIT ${SLICE}`,
        now,
      ),
    ].map(({ seq, failures, visible_at }) => ({
      seq,
      failures: failures + 1,
      visibleAt: visible_at,
    }));
    const tooOften = ended.filter(({ failures }) => failures > maxRetries);
    const again = ended.filter(({ failures }) => failures <= maxRetries);
    this.settle(
      [],
      again,
      tooOften.map(({ seq }) => seq),
      window,
    );
  }

  /** When the first lease that has not been ended ends. */
  nextLeaseEnd(): number | undefined {
    const [first] = this.#sql.exec<{ visible_at: number }>(
      "SELECT visible_at FROM messages WHERE lease IS NOT NULL ORDER BY visible_at LIMIT 1",
    );
    return first?.visible_at;
  }

  /** Drops some of the messages stored before a moment; how many. */
  expire(storedBefore: number, window: Window): number {
    return this.#storage.transactionSync(() => {
      const seqs = [];
      for (const row of this.#sql.exec<{ seq: number; stored_at: number }>(
        `SELECT seq, stored_at FROM messages WHERE seq > ? ORDER BY seq LIMIT ${SLICE}`,
        this.#table.purgedSeq,
      )) {
        if (row.stored_at >= storedBefore) break;
        seqs.push(row.seq);
      }
      const touched = new Map<string, number>();
      this.#remove(seqs, touched);
      for (const [key, removed] of touched) this.#groups.update(key, removed, window);
      return seqs.length;
    });
  }

  /** From now on there are no messages; `removePurged` makes room. */
  purge(): void {
    this.#storage.transactionSync(() => {
      this.#table.purge();
      this.#groups.clear();
    });
  }

  /** Removes some of the purged messages. */
  removePurged(): void {
    this.#storage.transactionSync(() => this.#table.removePurged());
  }

  /** The window has changed: when batches of ordered messages are ready depends on it. */
  setWindow(window: Window): void {
    if (this.#closed) return;
    this.#groups.setWindow(window);
  }

  /** Some of the messages that were given up, oldest first. */
  givenUp(limit: number): TakenMessage[] {
    return this.#closed ? [] : this.#table.givenUp(limit);
  }

  /** Whether there are messages that were given up. */
  get hasGivenUp(): boolean {
    return this.#table.hasGivenUp;
  }

  #giveUp(seqs: number[], touched: Map<string, number>): void {
    if (seqs.length === 0) return;
    const rows = this.#sql.exec<{ ordering_key: string | null }>(
      `UPDATE messages SET given_up = 1, lease = NULL, visible_at = NULL
        WHERE seq IN (SELECT value FROM json_each(?)) RETURNING ordering_key`,
      JSON.stringify(seqs),
    );
    for (const row of rows) if (row.ordering_key !== null) tally(touched, row.ordering_key, 1);
  }

  #remove(seqs: number[], touched: Map<string, number>): void {
    for (const { ordering_key } of this.#table.remove(seqs)) {
      if (ordering_key !== null) tally(touched, ordering_key, 1);
    }
  }
}

const keysOf = (messages: Pick<TakenMessage, "orderingKey">[]): Set<string> =>
  new Set(messages.flatMap(({ orderingKey }) => orderingKey ?? []));

function tally(counts: Map<string, number>, key: string, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}
