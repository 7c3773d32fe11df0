import { Hono, type Context } from "hono";
import * as z from "zod";
import {
  deleteSubscription,
  findSubscription,
  listSubscriptions,
  putSubscription,
  type DatabaseSubscription,
} from "../catalog/database-subscriptions.ts";
import { findDatabase } from "../catalog/databases.ts";
import { findQueue } from "../catalog/queues.ts";
import { OPERATIONS } from "../triggers/database/protocol.ts";
import { updateFeeds } from "../triggers/database/update-feeds.ts";
import type { ControlEnv } from "./app.ts";
import { readJson } from "./body.ts";
import { MALFORMED, NOT_FOUND } from "./database.ts";
import { paged, success } from "./envelope.ts";
import { ApiError } from "./error.ts";
import { noSuchQueue } from "./queue.ts";
import { accountOf } from "./script.ts";

/** Which changes of databases go to which queues. Mayfly's own: Cloudflare has no such endpoint. */
export const databaseSubscriptions = new Hono<ControlEnv>();

const PER_PAGE = 100;
const DECLARED = 7409;

/** A table of a user's own, there or not. */
export const subscribedTable = z
  .string()
  .min(1)
  .max(255)
  .refine(
    (name) => !/^(?:sqlite_|_cf_|mayfly_changes$)/i.test(name),
    "must be a table of your own: not sqlite_…, _cf_… or mayfly_changes",
  );

/** Without them: all. */
export const subscribedOperations = z
  .array(z.enum(OPERATIONS))
  .min(1)
  .transform((given) => OPERATIONS.filter((operation) => given.includes(operation)))
  .default(OPERATIONS);

const NewSubscription = z
  .strictObject({
    database_id: z.string().exactOptional(),
    database_name: z.string().exactOptional(),
    table: subscribedTable,
    queue_name: z.string(),
    operations: subscribedOperations,
  })
  .refine(
    ({ database_id, database_name }) =>
      (database_id === undefined) !== (database_name === undefined),
    "must have either database_id or database_name",
  );

databaseSubscriptions.get("/mayfly/database-subscriptions", async (c) => {
  const all = await listSubscriptions(c.env.CATALOG, accountOf(c));
  const [page, info] = paged(all, (name) => c.req.query(name), PER_PAGE);
  return success(page.map(toResult), info);
});

databaseSubscriptions.post("/mayfly/database-subscriptions", async (c) => {
  const body = await readJson(c, NewSubscription, MALFORMED);
  const db = c.env.CATALOG;
  const [field, value] =
    body.database_id === undefined
      ? (["database_name", body.database_name ?? ""] as const)
      : (["database_id", body.database_id] as const);
  const database = await findDatabase(db, accountOf(c), value);
  if (!database || database[field === "database_id" ? "id" : "name"] !== value) {
    throw new ApiError(404, NOT_FOUND, `${field}: The database ${value} could not be found`);
  }
  const queue = await findQueue(db, accountOf(c), body.queue_name);
  if (!queue) throw noSuchQueue("queue_name", body.queue_name);
  const { table: tableName, operations } = body;
  const subscription = { tableName, queueId: queue.id, operations };
  const id = await putSubscription(db, database.id, subscription);
  await tell(c, database.id);
  return success(toResult(await require(c, id)));
});

databaseSubscriptions.get("/mayfly/database-subscriptions/:subscription_id", async (c) =>
  success(toResult(await require(c, c.req.param("subscription_id")))),
);

databaseSubscriptions.delete("/mayfly/database-subscriptions/:subscription_id", async (c) => {
  const { id, databaseId, scriptName } = await require(c, c.req.param("subscription_id"));
  if (scriptName !== undefined) {
    throw new ApiError(
      409,
      DECLARED,
      `subscription_id: "${id}" is declared by the script "${scriptName}"; remove it from the script's configuration and deploy it`,
    );
  }
  await deleteSubscription(c.env.CATALOG, id);
  await tell(c, databaseId);
  return success(null);
});

async function require(c: Context<ControlEnv>, id: string): Promise<DatabaseSubscription> {
  const found = await findSubscription(c.env.CATALOG, accountOf(c), id);
  if (found) return found;
  throw new ApiError(404, NOT_FOUND, `subscription_id: there is no subscription "${id}"`);
}

async function tell(c: Context<ControlEnv>, databaseId: string): Promise<void> {
  const failed = await updateFeeds(c.env, c.executionCtx as ExecutionContext, accountOf(c));
  if (!failed.has(databaseId)) return;
  throw new ApiError(
    503,
    10013,
    `The change is saved, but the database ${databaseId} could not be told; the log says why. Try again, or it is told when the platform starts`,
  );
}

const toResult = (subscription: DatabaseSubscription): Record<string, unknown> => ({
  id: subscription.id,
  database_id: subscription.databaseId,
  database_name: subscription.databaseName,
  table: subscription.tableName,
  queue_id: subscription.queueId,
  queue_name: subscription.queueName,
  operations: subscription.operations,
  // Declared in the script's configuration.
  script: subscription.scriptName ?? null,
  created_on: subscription.createdAt,
});
