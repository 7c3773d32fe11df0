import type { Context } from "hono";
import * as z from "zod";
import { findQueue } from "../catalog/queues.ts";
import type { SourceBinding } from "../catalog/source.ts";
import type { ControlEnv } from "./app.ts";
import { subscribedOperations, subscribedTable } from "./database-subscriptions.ts";
import { ApiError, invalid } from "./error.ts";
import { accountOf } from "./script.ts";

/** What a script's configuration subscribes to, see docs/database-changes.md. */
export const declaredDatabaseChanges = z
  .array(
    z.strictObject({
      /** Name of one of the version's own D1 bindings. */
      binding: z.string(),
      table: subscribedTable,
      /** Name of a queue. */
      queue: z.string(),
      operations: subscribedOperations,
    }),
  )
  .max(100);

/** Throws 10021 naming the first member that the version or the account does not have. */
export async function checkDatabaseChanges(
  c: Context<ControlEnv>,
  declared: z.output<typeof declaredDatabaseChanges> | undefined,
  bindings: SourceBinding[],
): Promise<void> {
  const databases = bindings.filter(({ type }) => type === "d1").map(({ name }) => name);
  for (const [index, { binding, queue }] of (declared ?? []).entries()) {
    const field = `mayfly.database_changes.${index}`;
    if (!databases.includes(binding)) {
      const known = databases.length === 0 ? "it has none" : `it has ${databases.join(", ")}`;
      throw invalid(
        10021,
        `${field}.binding`,
        binding,
        `the name of a D1 binding of this version: ${known}`,
      );
    }
    if (await findQueue(c.env.CATALOG, accountOf(c), queue)) continue;
    throw new ApiError(
      400,
      10021,
      `${field}.queue: got "${queue}": Queue does not exist. To create it, run: wrangler queues create ${queue}`,
    );
  }
}
