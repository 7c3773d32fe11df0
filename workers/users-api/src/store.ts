import { Problem } from "./problem.ts";
import type { NewUser, User, UserChange } from "./user.ts";

/** Where a page begins: after this user, in the order of creation. */
export interface Position {
  createdAt: string;
  id: string;
}

/** Throws a 409 if another user has the address. */
export async function createUser(db: D1Database, { name, email }: NewUser): Promise<User> {
  const now = new Date().toISOString();
  const user: User = {
    id: crypto.randomUUID(),
    name,
    email,
    version: 1,
    created_at: now,
    updated_at: now,
  };
  await orTaken(
    db
      .prepare(
        `INSERT INTO users (id, name, email, version, created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?)`,
      )
      .bind(user.id, name, email, user.version, now, now)
      .run(),
  );
  return user;
}

export async function findUser(db: D1Database, id: string): Promise<User | null> {
  return db.prepare("SELECT * FROM users WHERE id = ?").bind(id).first<User>();
}

/** Up to `limit` users after the position, or from the beginning. */
export async function listUsers(
  db: D1Database,
  after: Position | undefined,
  limit: number,
): Promise<User[]> {
  const { results } = await db
    .prepare(
      `SELECT * FROM users WHERE (created_at, id) > (?1, ?2) ORDER BY created_at, id LIMIT ?3`,
    )
    .bind(after?.createdAt ?? "", after?.id ?? "", limit)
    .all<User>();
  return results;
}

/**
 * Changes the user if it still has the version, if one is given; otherwise throws a 412. Throws a
 * 404 if there is no such user, a 409 if another one has the address.
 */
export async function updateUser(
  db: D1Database,
  id: string,
  change: UserChange,
  version: number | undefined,
): Promise<User> {
  const user = await orTaken(
    db
      .prepare(
        `UPDATE users SET name = coalesce(?2, name), email = coalesce(?3, email),
           version = version + 1, updated_at = ?4
         WHERE id = ?1 AND version = coalesce(?5, version) RETURNING *`,
      )
      .bind(
        id,
        change.name ?? null,
        change.email ?? null,
        new Date().toISOString(),
        version ?? null,
      )
      .first<User>(),
  );
  return user ?? missedBy(db, id);
}

/** Removes the user; throws as `updateUser` does. */
export async function deleteUser(
  db: D1Database,
  id: string,
  version: number | undefined,
): Promise<void> {
  const { meta } = await db
    .prepare("DELETE FROM users WHERE id = ?1 AND version = coalesce(?2, version)")
    .bind(id, version ?? null)
    .run();
  if (meta.changes === 0) await missedBy(db, id);
}

// Why a write found nothing to change.
async function missedBy(db: D1Database, id: string): Promise<never> {
  const user = await findUser(db, id);
  if (!user) throw new Problem(404, "not_found", `user ${id}: unknown`);
  throw new Problem(
    412,
    "changed_meanwhile",
    `if-match: user ${id} is at version ${user.version} by now`,
  );
}

// The unique index decides, not a look beforehand: two requests may come at the same time.
async function orTaken<T>(written: Promise<T>): Promise<T> {
  try {
    return await written;
  } catch (error) {
    if (error instanceof Error && error.message.includes("UNIQUE constraint failed: users.email")) {
      const message = "another user has it";
      throw new Problem(409, "email_taken", `email: ${message}`, { email: message });
    }
    throw error;
  }
}
