import { listChangedFeeds, noteFeed } from "../../catalog/database-subscriptions.ts";
import type { Env } from "../../env.ts";
import { log } from "../../observe/log.ts";
import { shardOf } from "../../roles/contract.ts";
import type { TableSubscription } from "./protocol.ts";

// Others may change the catalog meanwhile; each round makes up for what the one before has missed.
const MAX_ROUNDS = 5;

/**
 * Tells databases what is subscribed to, as far as it has changed. To be called after each change of
 * the catalog, and when the platform is woken, for changes that a crash or a failure kept from a
 * database. The ids of those that could not be told.
 */
export async function updateFeeds(env: Env, ctx: ExecutionContext): Promise<Set<string>> {
  const failed = new Set<string>();
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const changed = (await listChangedFeeds(env.CATALOG)).filter(
      ({ databaseId }) => !failed.has(databaseId),
    );
    if (changed.length === 0) break;
    for (const { wanted, ...feed } of changed) {
      try {
        await noteFeed(env.CATALOG, feed.databaseId, "");
        await shardOf(env, ctx).subscribe({ ...feed, subscriptions: merge(feed.subscriptions) });
        await noteFeed(env.CATALOG, feed.databaseId, wanted);
      } catch (error) {
        failed.add(feed.databaseId);
        log("error", "database_feed_failed", {
          database: feed.databaseId,
          message: String(error),
        });
      }
    }
  }
  return failed;
}

/** One subscription for each table and queue: several scripts may ask for the same changes. */
function merge(subscriptions: TableSubscription[]): TableSubscription[] {
  const merged = new Map<string, TableSubscription>();
  for (const subscription of subscriptions) {
    const key = `${subscription.queueId} ${subscription.tableName.toLowerCase()}`;
    const known = merged.get(key);
    const operations = [...new Set([...(known?.operations ?? []), ...subscription.operations])];
    merged.set(key, { ...subscription, operations });
  }
  return [...merged.values()];
}
