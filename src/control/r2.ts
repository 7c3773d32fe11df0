import { type Context, Hono } from "hono";
import * as z from "zod";
import { R2Store } from "../bindings/r2/store.ts";
import { listActiveBuckets } from "../catalog/bucket-notifications.ts";
import {
  type Bucket,
  type BucketRules,
  createBucket,
  deleteBucket,
  getRules,
  listBuckets,
  setRules,
  setStorageClass,
} from "../catalog/buckets.ts";
import { removeGarbage } from "../catalog/garbage.ts";
import { bucketObject } from "../triggers/bucket/notify.ts";
import type { ControlEnv } from "./app.ts";
import { parse, readJson } from "./body.ts";
import { success } from "./envelope.ts";
import { ApiError, invalid, notBuilt } from "./error.ts";
import { eventNotifications } from "./event-notifications.ts";
import { answer, checkJurisdiction, R2_CODES, requireBucket } from "./r2-bucket.ts";
import { r2Objects } from "./r2-objects.ts";
import { CorsBody, LifecycleBody } from "./r2-rules.ts";

const StorageClass = z.enum(["Standard", "InfrequentAccess"]);
const CreateBody = z.object({
  name: z.string(),
  storageClass: StorageClass.default("Standard"),
  // One place, so any hint is as good: kept to be shown.
  locationHint: z
    .string()
    .toLowerCase()
    .pipe(z.enum(["apac", "eeur", "enam", "weur", "wnam", "oc"]))
    .optional(),
});

/** R2 buckets: https://developers.cloudflare.com/api/resources/r2/ */
export const r2 = new Hono<ControlEnv>();

const BUCKETS = "/r2/buckets";
const BUCKET = `${BUCKETS}/:bucket`;

r2.get(BUCKETS, async (c) => {
  checkJurisdiction(c);
  const { name_contains = "", start_after = "", direction = "asc", per_page } = c.req.query();
  if (direction !== "asc" && direction !== "desc") {
    throw invalid(R2_CODES.argument, "direction", direction, "asc or desc");
  }
  if (per_page !== undefined && !/^[1-9]\d{0,3}$/.test(per_page)) {
    throw invalid(R2_CODES.argument, "per_page", per_page, "a whole number from 1");
  }
  const { cursor = start_after } = c.req.query();
  const all = await listBuckets(c.env.CATALOG, accountOf(c));
  if (direction === "desc") all.reverse();
  const found = all.filter(
    ({ name }) =>
      name.includes(name_contains) &&
      (cursor === "" || (direction === "asc" ? name > cursor : name < cursor)),
  );
  // Wrangler asks for no pages and shows what it gets, so all come unless fewer are asked for.
  const page = found.slice(0, per_page === undefined ? undefined : Number(per_page));
  const next = page.length < found.length ? page.at(-1)?.name : undefined;
  return success(
    { buckets: page.map(toRecord) },
    next === undefined ? undefined : { cursor: next, per_page: Number(per_page) },
  );
});

r2.post(BUCKETS, async (c) => {
  checkJurisdiction(c);
  const { name, storageClass, locationHint } = await readJson(c, CreateBody, R2_CODES.malformed);
  if (!/^[a-z\d][a-z\d-]{1,61}[a-z\d]$/.test(name)) {
    throw invalid(
      R2_CODES.bucketName,
      "name",
      name,
      "3 to 63 lower-case letters, digits and -, the first and last a letter or digit",
    );
  }
  const bucket = await createBucket(c.env.CATALOG, {
    accountId: accountOf(c),
    name,
    storageClass,
    location: locationHint?.toUpperCase(),
  });
  if (!bucket) {
    throw new ApiError(
      409,
      R2_CODES.bucketExists,
      "The bucket you tried to create already exists, and you own it.",
    );
  }
  return success(toRecord(bucket));
});

r2.get(BUCKET, async (c) => success(toRecord(await requireBucket(c))));

r2.patch(BUCKET, async (c) => {
  const bucket = await requireBucket(c);
  const header = c.req.header("cf-r2-storage-class");
  const storageClass = parse(StorageClass, header, R2_CODES.argument, "cf-r2-storage-class");
  await setStorageClass(c.env.CATALOG, bucket, storageClass);
  return success(toRecord({ ...bucket, storageClass }));
});

r2.delete(BUCKET, async (c) => {
  const bucket = await requireBucket(c);
  const store = new R2Store(c.env, bucket.accountId, bucket.name);
  const { objects } = await answer(() => store.listObjects({ limit: 1 }));
  if (objects.length > 0) {
    throw new ApiError(
      409,
      R2_CODES.bucketNotEmpty,
      "The bucket you tried to delete is not empty. Delete its objects first.",
    );
  }
  const active = await listActiveBuckets(c.env.CATALOG);
  await deleteBucket(c.env.CATALOG, bucket);
  if (active.some(({ number }) => number === bucket.number)) {
    await bucketObject(c.env, bucket.number).retire();
  }
  c.executionCtx.waitUntil(removeGarbage(c.env));
  return success(null);
});

const RULES: { kind: BucketRules; body: z.ZodType<{ rules: unknown[] }> }[] = [
  { kind: "cors", body: CorsBody },
  { kind: "lifecycle", body: LifecycleBody },
];
for (const { kind, body } of RULES) {
  r2.get(`${BUCKET}/${kind}`, async (c) =>
    success({ rules: await getRules(c.env.CATALOG, await requireBucket(c), kind) }),
  );
  r2.put(`${BUCKET}/${kind}`, async (c) => {
    const bucket = await requireBucket(c);
    const { rules } = await readJson(c, body, R2_CODES.malformed);
    await replaceRules(c, bucket, kind, rules);
    return success(null);
  });
  r2.delete(`${BUCKET}/${kind}`, async (c) => {
    await replaceRules(c, await requireBucket(c), kind, []);
    return success(null);
  });
}

async function replaceRules(
  c: Context<ControlEnv>,
  bucket: Bucket,
  kind: BucketRules,
  rules: unknown[],
): Promise<void> {
  const before = await getRules(c.env.CATALOG, bucket, kind);
  await setRules(c.env.CATALOG, bucket, kind, rules);
  if (kind !== "lifecycle" || before.length + rules.length === 0) return;
  await bucketObject(c.env, bucket.number).applyLifecycle(bucket);
}

r2.route("/", r2Objects);
r2.route("/", eventNotifications);

const NOT_BUILT: Record<string, string> = {
  lock: "bucket locks are",
  domains: "public buckets and their domains are",
  sippy: "Sippy is",
  catalog: "the data catalog is",
  "local-uploads": "local uploads are",
};
for (const [feature, what] of Object.entries(NOT_BUILT)) {
  for (const path of [`${BUCKET}/${feature}`, `${BUCKET}/${feature}/*`]) {
    r2.all(path, async (c) => {
      await requireBucket(c);
      throw notBuilt(feature, what);
    });
  }
}

const accountOf = (c: Context<ControlEnv>): string => c.req.param("account_id") ?? "";

const toRecord = (bucket: Bucket): Record<string, unknown> => ({
  name: bucket.name,
  creation_date: bucket.createdAt,
  location: bucket.location ?? "",
  storage_class: bucket.storageClass,
  jurisdiction: "default",
});
