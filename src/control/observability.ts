import * as z from "zod";

// The API's clients send null for what is not set.
const unless = <T extends z.ZodType>(schema: T) =>
  schema.nullish().transform((value) => value ?? undefined);

const NOT_BUILT = "must be empty: Mayfly exports to no destinations of an account";

const exported = {
  enabled: unless(z.boolean()),
  /** From 0 to 1: how many are kept; all by default. */
  head_sampling_rate: unless(z.number().min(0).max(1)),
  destinations: unless(z.array(z.string()).max(0, NOT_BUILT)),
  persist: unless(z.boolean()),
};

/** `observability` in wrangler's configuration, and in the settings of a script. */
export const observability = z.strictObject({
  enabled: unless(z.boolean()),
  head_sampling_rate: exported.head_sampling_rate,
  redact_query_string: unless(z.boolean()),
  issues: unless(
    z.strictObject({
      enabled: unless(z.literal(false, "must be false: issues are not supported by Mayfly yet")),
    }),
  ),
  logs: unless(z.strictObject({ ...exported, invocation_logs: unless(z.boolean()) })),
  traces: unless(z.strictObject(exported)),
});
