import {
  listChangedFeeds,
  noteFeed,
  type ChangedFeed,
} from "../../catalog/database-subscriptions.ts";
import type { Env } from "../../env.ts";
import { log } from "../../observe/log.ts";
import { shardOf } from "../../roles/contract.ts";
import { foldName, type TableSubscription } from "./protocol.ts";

// Others may change the catalog meanwhile; each round makes up for what the one before has missed.
const MAX_ROUNDS = 5;

// A database may be busy with an import or an export. It is told then when it is done.
const PATIENCE_MS = 10_000;

/**
 * Tells databases what is subscribed to, as far as it has changed: those of one account, or all. To be
 * called after each change of the catalog, and when the platform is woken, for changes that a crash
 * kept from a database. The ids of those that could not be told yet.
 */
export async function updateFeeds(
  env: Env,
  ctx: ExecutionContext,
  accountId?: string,
): Promise<Set<string>> {
  const failed = new Set<string>();
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const changed = (await listChangedFeeds(env.CATALOG, accountId)).filter(
      ({ databaseId }) => !failed.has(databaseId),
    );
    if (changed.length === 0) break;
    await Promise.all(
      changed.map(async (feed) => {
        const telling = tell(env, ctx, feed);
        ctx.waitUntil(telling.catch(() => {}));
        try {
          await Promise.race([telling, patience()]);
        } catch (error) {
          failed.add(feed.databaseId);
          const message = error instanceof Error ? error.message : String(error);
          log("warn", "database_feed_failed", { database: feed.databaseId, message });
        }
      }),
    );
  }
  return failed;
}

async function tell(
  env: Env,
  ctx: ExecutionContext,
  { wanted, shard, ...feed }: ChangedFeed,
): Promise<void> {
  await noteFeed(env.CATALOG, feed.databaseId, "");
  await shardOf(env, ctx, shard).subscribe({ ...feed, subscriptions: merge(feed.subscriptions) });
  await noteFeed(env.CATALOG, feed.databaseId, wanted);
}

async function patience(): Promise<never> {
  await scheduler.wait(PATIENCE_MS);
  throw new Error(`the database was busy for ${PATIENCE_MS / 1000} seconds`);
}

/** One subscription for each table and queue: several scripts may ask for the same changes. */
function merge(subscriptions: TableSubscription[]): TableSubscription[] {
  const merged = new Map<string, TableSubscription>();
  for (const subscription of subscriptions) {
    const key = `${subscription.queueId} ${foldName(subscription.tableName)}`;
    const known = merged.get(key);
    const operations = [...new Set([...(known?.operations ?? []), ...subscription.operations])];
    merged.set(key, { ...subscription, operations });
  }
  return [...merged.values()];
}
