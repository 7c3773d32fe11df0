import * as z from "zod";

/** What is held: see `storage/measure.ts`. */
export const STORAGE_KINDS = ["kv", "r2", "d1", "queues", "logs", "code"] as const;
export type StorageKind = (typeof STORAGE_KINDS)[number];

const decimal = z.string().regex(/^\d+(\.\d+)?$/);
const amount = z.int().positive();
const trigger = z.enum(["fetch", "rpc", "scheduled", "queue", "tail"]);

/** What of the usage a price is for. */
const meter = z.discriminatedUnion("of", [
  /** Their number. */
  z.strictObject({ of: z.literal("invocations"), triggers: z.array(trigger).exactOptional() }),
  /**
   * Gigabytes (1024 MB) times seconds. Each invocation takes its wall time, rounded up, and its memory, likewise.
   */
  z.strictObject({
    of: z.literal("gb_seconds"),
    round_up_to_ms: amount,
    minimum_ms: amount.exactOptional(),
    round_up_to_mb: amount.exactOptional(),
  }),
  /** Wall time in seconds, rounded up for each invocation, times what it has of something such as vCPUs. */
  z.strictObject({ of: z.literal("seconds"), round_up_to_ms: amount, times: decimal }),
  /** In milliseconds. */
  z.strictObject({ of: z.literal("cpu_time") }),
  /** Of requests: in bytes. */
  z.strictObject({ of: z.literal("response_bytes") }),
  /** Calls of bindings, each counted so many times. */
  z.strictObject({
    of: z.literal("operations"),
    names: z.array(z.string().regex(/^(kv|r2|d1|queue)\.\w+$/)),
    times: amount.exactOptional(),
  }),
  /** Bytes times the share of the month for which they were held. */
  z.strictObject({ of: z.literal("storage"), kinds: z.array(z.enum(STORAGE_KINDS)) }),
  /** One, whatever is used. */
  z.strictObject({ of: z.literal("month") }),
  /** Priced by the provider and not counted here. */
  z.strictObject({ of: z.literal("not_counted") }),
]);
export type Meter = z.output<typeof meter>;

const price = z.strictObject({
  name: z.string(),
  /** What `usd` buys, for people: it is `per` of what the meter counts. */
  unit: z.string(),
  meter,
  per: amount,
  /** What costs nothing, in what the meter counts: in the plan's price, or in a free tier on top of it. */
  included: amount.exactOptional(),
  free: amount.exactOptional(),
  /** Begun units cost as much as whole ones. */
  whole_units: z.literal(true).exactOptional(),
  /** Each up to so much of what costs anything, the last without an end. */
  tiers: z.array(z.strictObject({ up_to: amount.exactOptional(), usd: decimal })).min(1),
});
export type Price = z.output<typeof price>;

/** What a plan refuses more of. */
const limit = z.strictObject({
  name: z.string(),
  meter,
  /** In what the meter counts: on one day (UTC), in one invocation, or at all. */
  per: z.enum(["day", "invocation", "month"]),
  most: amount,
});
export type Limit = z.output<typeof limit>;

const plan = z.strictObject({
  id: z.string().regex(/^[a-z0-9-]+$/),
  name: z.string(),
  /** Beside those that all plans of the sheet have. */
  prices: z.array(price),
  limits: z.array(limit).exactOptional(),
});
export type Plan = z.output<typeof plan>;

const source = z.strictObject({
  url: z.url(),
  /** When the page was read, or the last day on which it is known to have said so. */
  known_on: z.iso.date(),
  /** How it was read, and what could not be checked. */
  note: z.string(),
});

/** The prices of one provider's product. */
export const sheet = z.strictObject({
  provider: z.string(),
  sources: z.array(source).min(1),
  /** What it would cost beside that. */
  not_compared: z.array(z.string()),
  prices: z.array(price),
  plans: z.array(plan).min(1),
});
export type Sheet = z.output<typeof sheet>;

/** Machines by the month. */
export const machines = z.strictObject({
  machines: z.array(
    z.strictObject({
      id: z.string().regex(/^[a-z0-9-]+$/),
      name: z.string(),
      vcpus: amount,
      memory_gb: z.number().positive(),
      per_month: decimal,
      currency: z.enum(["USD", "EUR"]),
      source,
    }),
  ),
});
export type Machine = z.output<typeof machines>["machines"][number];
