import * as z from "zod";

// https://developers.cloudflare.com/queues/platform/limits/

const whole = (unit: string, least: number, most: number): z.ZodInt => {
  const allowed = `must be a whole number of ${unit} from ${least} to ${most}`;
  return z.int(allowed).min(least, allowed).max(most, allowed);
};

/** How long a message or a queue may hold back delivery. */
export const DELAY_SECONDS = whole("seconds", 0, 86_400);
export const RETENTION_SECONDS = whole("seconds", 60, 14 * 86_400);
export const BATCH_SIZE = whole("messages", 1, 100);
export const MAX_RETRIES = whole("retries", 0, 100);
export const MAX_WAIT_TIME_MS = whole("milliseconds", 0, 60_000);
export const MAX_CONCURRENCY = whole("invocations", 1, 250);
export const VISIBILITY_TIMEOUT_MS = whole("milliseconds", 1, 12 * 3_600_000);

export const QueueName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/,
    "must be 1 to 63 letters, digits, - and _, the first a letter or digit",
  );

/** A queue's settings as a request gives them. */
export const QueueSettingsBody = z.strictObject({
  delivery_delay: DELAY_SECONDS.exactOptional(),
  message_retention_period: RETENTION_SECONDS.exactOptional(),
  delivery_paused: z.boolean("must be true or false").exactOptional(),
});

const both = {
  batch_size: BATCH_SIZE.optional(),
  max_retries: MAX_RETRIES.optional(),
  retry_delay: DELAY_SECONDS.optional(),
};
/** A consumer's settings as a request gives them, by its type. */
export const ConsumerSettingsBody: Record<
  "worker" | "http_pull",
  z.ZodType<Record<string, unknown>>
> = {
  worker: z.strictObject({
    ...both,
    max_wait_time_ms: MAX_WAIT_TIME_MS.optional(),
    // Null: as many as the backlog deserves.
    max_concurrency: MAX_CONCURRENCY.nullish(),
  }),
  http_pull: z.strictObject({ ...both, visibility_timeout_ms: VISIBILITY_TIMEOUT_MS.optional() }),
};
