import type { Month } from "../prices/month.ts";
import type { ByteMonths } from "../prices/quantity.ts";
import { STORAGE_KINDS, type StorageKind } from "../prices/sheet.ts";
import { byteMonthsOf, type Held } from "./byte-months.ts";

/** What an account holds of a kind. */
export interface Sample extends Held {
  account_id: string;
  kind: StorageKind;
}

/** As long as usage of hours is told apart. */
const KEPT_MS = 400 * 24 * 60 * 60_000;

const ADD = `
  INSERT INTO storage_samples (account_id, kind, at, bytes)
  SELECT row.value ->> 'account_id', row.value ->> 'kind', row.value ->> 'at', row.value ->> 'bytes'
  FROM json_each(?) row
  WHERE row.value ->> 'bytes' <> coalesce((
    SELECT bytes FROM storage_samples
    WHERE account_id = row.value ->> 'account_id' AND kind = row.value ->> 'kind'
    ORDER BY at DESC LIMIT 1
  ), 0)
  ON CONFLICT DO UPDATE SET bytes = excluded.bytes`;

// The last of what is too old still holds.
const FORGET = `
  DELETE FROM storage_samples WHERE at < ?1 AND EXISTS (
    SELECT 1 FROM storage_samples later
    WHERE later.account_id = storage_samples.account_id AND later.kind = storage_samples.kind
      AND later.at > storage_samples.at AND later.at <= ?1
  )`;

/** Keeps those that are different from the ones before them. */
export async function addSamples(db: D1Database, samples: Sample[]): Promise<void> {
  await db.batch([
    db.prepare(ADD).bind(JSON.stringify(samples)),
    db.prepare(FORGET).bind(Date.now() - KEPT_MS),
  ]);
}

/** What the account held at the last measurement. */
export async function heldBytes(
  db: D1Database,
  accountId: string,
): Promise<Record<StorageKind, number>> {
  const { results } = await db
    .prepare("SELECT kind, bytes, max(at) FROM storage_samples WHERE account_id = ? GROUP BY kind")
    .bind(accountId)
    .all<Pick<Sample, "kind" | "bytes">>();
  const held = Object.fromEntries(results.map(({ kind, bytes }) => [kind, bytes]));
  const all = STORAGE_KINDS.map((kind) => [kind, held[kind] ?? 0]);
  return Object.fromEntries(all) as Record<StorageKind, number>;
}

/** What the account has held in a month, or until now. */
export async function byteMonths(
  db: D1Database,
  accountId: string,
  month: Month,
  now: number,
): Promise<ByteMonths> {
  const { results } = await db
    .prepare(
      "SELECT kind, at, bytes FROM storage_samples WHERE account_id = ? AND at < ? ORDER BY kind, at",
    )
    .bind(accountId, month.to)
    .all<Sample>();
  const kinds = STORAGE_KINDS.map((kind) => {
    const samples = results.filter((sample) => sample.kind === kind);
    return [kind, byteMonthsOf(samples, month, now)];
  });
  return Object.fromEntries(kinds) as ByteMonths;
}
