import type { Principal } from "../control/auth.ts";
import { hex } from "./crypto.ts";

/** The principal of the token whose SHA-256 is given, unless unknown or revoked. */
export async function findToken(db: D1Database, hash: ArrayBuffer): Promise<Principal | undefined> {
  const row = await db
    .prepare(
      "SELECT id, account_id, name, access FROM tokens WHERE token_hash = ? AND revoked_at IS NULL",
    )
    .bind(hex(hash))
    .first<{ id: string; account_id: string; name: string; access: "read" | "write" }>();
  return (
    (row && {
      accountId: row.account_id,
      access: row.access,
      tokenId: row.id,
      tokenName: row.name,
    }) ??
    undefined
  );
}
