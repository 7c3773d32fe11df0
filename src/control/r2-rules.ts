import * as z from "zod";

const MAX_CORS_RULES = 100;
const MAX_CORS_AGE_SECONDS = 86_400;
const MAX_LIFECYCLE_RULES = 1_000;
const MAX_ID_LENGTH = 255;

const Strings = z.array(z.string().min(1, "must not be empty"));

/** https://developers.cloudflare.com/api/resources/r2/subresources/buckets/subresources/cors/ */
export const CorsBody = z.strictObject({
  rules: z
    .array(
      z.strictObject({
        id: z.string().max(MAX_ID_LENGTH).optional(),
        allowed: z.strictObject({
          origins: Strings.min(1, "must name an origin"),
          methods: z.array(z.enum(["GET", "PUT", "POST", "DELETE", "HEAD"])).min(1),
          headers: Strings.optional(),
        }),
        exposeHeaders: Strings.optional(),
        maxAgeSeconds: z.int().min(0).max(MAX_CORS_AGE_SECONDS).optional(),
      }),
    )
    .max(MAX_CORS_RULES, `must be at most ${MAX_CORS_RULES} rules`),
});

const Age = z.strictObject({ type: z.literal("Age"), maxAge: z.int().min(0) });
const OnDate = z.strictObject({
  type: z.literal("Date"),
  date: z.union([z.iso.date(), z.iso.datetime({ offset: true })]),
});
const AgeOrDate = z.discriminatedUnion("type", [Age, OnDate]);

export type LifecycleRule = z.output<typeof LifecycleBody>["rules"][number];

/** https://developers.cloudflare.com/api/resources/r2/subresources/buckets/subresources/lifecycle/ */
export const LifecycleBody = z.strictObject({
  rules: z
    .array(
      z.strictObject({
        id: z.string().min(1, "must not be empty").max(MAX_ID_LENGTH),
        enabled: z.boolean(),
        conditions: z.strictObject({ prefix: z.string().optional() }),
        deleteObjectsTransition: z.strictObject({ condition: AgeOrDate }).optional(),
        storageClassTransitions: z
          .array(
            z.strictObject({ condition: AgeOrDate, storageClass: z.literal("InfrequentAccess") }),
          )
          .optional(),
        abortMultipartUploadsTransition: z.strictObject({ condition: Age }).optional(),
      }),
    )
    .max(MAX_LIFECYCLE_RULES, `must be at most ${MAX_LIFECYCLE_RULES} rules`)
    .refine(
      (rules) => new Set(rules.map(({ id }) => id)).size === rules.length,
      "must have ids that differ",
    ),
});
