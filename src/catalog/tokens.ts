import type { Principal } from "../control/auth.ts";
import { hex, randomHex, sha256 } from "./crypto.ts";

/** An account's API token, without its value: that is never stored. */
export interface Token {
  /** 32 hex digits. */
  id: string;
  name: string;
  access: "read" | "write";
  createdAt: string;
}

interface Row {
  id: string;
  name: string;
  access: "read" | "write";
  created_at: string;
}

const COLUMNS = "id, name, access, created_at";

const fromRow = ({ id, name, access, created_at }: Row): Token => ({
  id,
  name,
  access,
  createdAt: created_at,
});

/** The principal of the token whose SHA-256 is given, unless unknown or revoked. */
export async function findPrincipal(
  db: D1Database,
  hash: ArrayBuffer,
): Promise<Principal | undefined> {
  const row = await db
    .prepare(
      "SELECT id, account_id, name, access FROM tokens WHERE token_hash = ? AND revoked_at IS NULL",
    )
    .bind(hex(hash))
    .first<{ id: string; account_id: string; name: string; access: "read" | "write" }>();
  if (!row) return undefined;
  return { accountId: row.account_id, access: row.access, tokenId: row.id, tokenName: row.name };
}

/** The account's tokens, oldest first, without those that are revoked. */
export async function listTokens(db: D1Database, accountId: string): Promise<Token[]> {
  const { results } = await db
    .prepare(
      `SELECT ${COLUMNS} FROM tokens WHERE account_id = ? AND revoked_at IS NULL ORDER BY created_at, id`,
    )
    .bind(accountId)
    .all<Row>();
  return results.map(fromRow);
}

/** The account's token, or undefined if there is none with the id or it is revoked. */
export async function findToken(
  db: D1Database,
  accountId: string,
  id: string,
): Promise<Token | undefined> {
  const row = await db
    .prepare(`SELECT ${COLUMNS} FROM tokens WHERE account_id = ? AND id = ? AND revoked_at IS NULL`)
    .bind(accountId, id)
    .first<Row>();
  return row ? fromRow(row) : undefined;
}

/** A new token and its value, which nothing can tell again. */
export async function createToken(
  db: D1Database,
  accountId: string,
  name: string,
  access: "read" | "write",
): Promise<Token & { value: string }> {
  const value = randomHex(32);
  const token: Token = { id: randomHex(16), name, access, createdAt: new Date().toISOString() };
  await db
    .prepare(
      "INSERT INTO tokens (id, account_id, name, token_hash, access, created_at) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(token.id, accountId, name, hex(await sha256(value)), access, token.createdAt)
    .run();
  return { ...token, value };
}

/** Ends the account's token; false if there is none with the id or it is revoked already. */
export async function revokeToken(db: D1Database, accountId: string, id: string): Promise<boolean> {
  const { meta } = await db
    .prepare(
      "UPDATE tokens SET revoked_at = ? WHERE account_id = ? AND id = ? AND revoked_at IS NULL",
    )
    .bind(new Date().toISOString(), accountId, id)
    .run();
  return meta.changes > 0;
}
