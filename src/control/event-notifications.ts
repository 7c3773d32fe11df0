import { type Context, Hono } from "hono";
import * as z from "zod";
import {
  ACTIONS,
  addRules,
  deleteRules,
  listRules,
  type NotificationFilter,
  type NotificationRule,
} from "../catalog/bucket-notifications.ts";
import { type Bucket, findBucket } from "../catalog/buckets.ts";
import type { Queue } from "../catalog/queues.ts";
import type { ControlEnv } from "./app.ts";
import { parse, parseJson, readJson } from "./body.ts";
import { success } from "./envelope.ts";
import { ApiError } from "./error.ts";
import { requireQueue } from "./queue.ts";
import { checkJurisdiction } from "./r2-bucket.ts";
import { accountOf } from "./script.ts";

const CODES = {
  noBucket: 10085,
  noRulesForQueue: 11011,
  invalid: 11014,
  noRules: 11015,
  overlap: 11020,
} as const;

const MAX_RULES = 100;
/** Of the characters of a key. */
const MAX_AFFIX_LENGTH = 1024;

const Affix = z.string().max(MAX_AFFIX_LENGTH).default("");
const PutBody = z.strictObject({
  rules: z.array(
    z.strictObject({
      prefix: Affix,
      suffix: Affix,
      actions: z
        .array(z.enum(ACTIONS))
        .min(1, "must name an action")
        .transform((actions) => [...new Set(actions)]),
      description: z.string().optional(),
    }),
  ),
});
const DeleteBody = z.strictObject({ ruleIds: z.array(z.string()).optional() });

/**
 * Which queues are told of changes in a bucket:
 * https://developers.cloudflare.com/api/resources/r2/subresources/buckets/subresources/event_notifications/
 */
export const eventNotifications = new Hono<ControlEnv>();

const CONFIGURATION = "/event_notifications/r2/:bucket/configuration";
const QUEUE = `${CONFIGURATION}/queues/:queue_id`;

eventNotifications.get(CONFIGURATION, async (c) => {
  const bucket = await bucketOf(c);
  const rules = await listRules(c.env.CATALOG, bucket);
  if (rules.length === 0) {
    throw new ApiError(404, CODES.noRules, `Bucket "${bucket.name}" has no event notifications.`);
  }
  const queueIds = [...new Set(rules.map(({ queueId }) => queueId))];
  return success({
    bucketName: bucket.name,
    queues: queueIds.map((queueId) => toQueue(rules.filter((rule) => rule.queueId === queueId))),
  });
});

eventNotifications.get(QUEUE, async (c) => {
  const bucket = await bucketOf(c);
  return success(toQueue(await rulesFor(c, bucket, (await requireQueue(c)).queue)));
});

// Adds to the rules that are there, as Cloudflare's does.
eventNotifications.put(QUEUE, async (c) => {
  const bucket = await bucketOf(c);
  const queue = (await requireQueue(c)).queue;
  const { rules } = await readJson(c, PutBody, CODES.invalid);
  const known = await listRules(c.env.CATALOG, bucket);
  if (known.length + rules.length > MAX_RULES) {
    throw new ApiError(
      400,
      CODES.invalid,
      `rules: bucket "${bucket.name}" has ${known.length} and would have ${known.length + rules.length}, must be at most ${MAX_RULES}`,
    );
  }
  const others: NotificationFilter[] = known.filter(({ queueId }) => queueId === queue.id);
  for (const [index, rule] of rules.entries()) {
    const other = others.find((other) => overlap(rule, other));
    if (other) {
      throw new ApiError(
        409,
        CODES.overlap,
        `rules.${index}: got ${describe(rule)}, must not overlap with the rule of ${describe(other)} for queue "${queue.name}"`,
      );
    }
    others.push(rule);
  }
  await addRules(c.env.CATALOG, bucket, queue.id, rules);
  return success({});
});

eventNotifications.delete(QUEUE, async (c) => {
  const bucket = await bucketOf(c);
  const known = (await rulesFor(c, bucket, (await requireQueue(c)).queue)).map(({ id }) => id);
  const text = await c.req.text();
  const body = text === "" ? {} : parseJson(text, CODES.invalid, "body");
  const { ruleIds = known } = parse(DeleteBody, body, CODES.invalid, "body");
  const unknown = ruleIds.find((id) => !known.includes(id));
  if (unknown !== undefined) {
    throw new ApiError(
      404,
      CODES.noRulesForQueue,
      `ruleIds: got "${unknown}", must be ids of rules of this bucket and queue`,
    );
  }
  await deleteRules(c.env.CATALOG, bucket, ruleIds);
  return success({});
});

async function bucketOf(c: Context<ControlEnv>): Promise<Bucket> {
  checkJurisdiction(c);
  const bucket = await findBucket(c.env.CATALOG, accountOf(c), c.req.param("bucket") ?? "");
  if (!bucket) throw new ApiError(404, CODES.noBucket, "The specified bucket does not exist.");
  return bucket;
}

async function rulesFor(
  c: Context<ControlEnv>,
  bucket: Bucket,
  queue: Queue,
): Promise<NotificationRule[]> {
  const rules = await listRules(c.env.CATALOG, bucket);
  const found = rules.filter(({ queueId }) => queueId === queue.id);
  if (found.length > 0) return found;
  throw new ApiError(
    404,
    CODES.noRulesForQueue,
    `Bucket "${bucket.name}" has no event notifications for queue "${queue.name}".`,
  );
}

/** Whether one change of one object could be the business of both rules. */
const overlap = (a: NotificationFilter, b: NotificationFilter): boolean =>
  a.actions.some((action) => b.actions.includes(action)) &&
  (a.prefix.startsWith(b.prefix) || b.prefix.startsWith(a.prefix)) &&
  (a.suffix.endsWith(b.suffix) || b.suffix.endsWith(a.suffix));

const describe = ({ prefix, suffix, actions }: NotificationFilter): string =>
  `prefix "${prefix}" and suffix "${suffix}" for ${actions.join(", ")}`;

function toQueue(rules: NotificationRule[]): Record<string, unknown> {
  return {
    queueId: rules[0]?.queueId,
    queueName: rules[0]?.queueName,
    rules: rules.map(({ id, createdAt, prefix, suffix, actions, description }) => ({
      ruleId: id,
      createdAt,
      prefix,
      suffix,
      actions,
      ...(description !== undefined && { description }),
    })),
  };
}
