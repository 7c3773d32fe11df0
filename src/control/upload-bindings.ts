import * as z from "zod";
import { notBuilt, invalid } from "./error.ts";
import { DELAY_SECONDS } from "./queue-settings.ts";
import { MAX_VARIABLE_BYTES } from "./upload-limits.ts";

// `env` is an object: this name would set its prototype and not a member.
const RESERVED_NAME = "__proto__";

/** The name of a binding, which code must be able to write after `env.`. */
export const bindingName = z
  .string()
  .regex(/^[A-Za-z_$][\w$]*$/, "must be a JavaScript identifier")
  .refine((name) => name !== RESERVED_NAME, `must not be ${RESERVED_NAME}`);

/** The text of a variable or secret. */
export const variableText = z
  .string()
  .refine(
    (text) => new TextEncoder().encode(text).length <= MAX_VARIABLE_BYTES,
    `must be at most ${MAX_VARIABLE_BYTES} bytes long`,
  );

const json = z
  .json()
  .refine(
    (value) => new TextEncoder().encode(JSON.stringify(value)).length <= MAX_VARIABLE_BYTES,
    `must be at most ${MAX_VARIABLE_BYTES} bytes long as JSON`,
  );

const name = bindingName;
const binding = z.discriminatedUnion("type", [
  z.strictObject({ type: z.enum(["plain_text", "secret_text"]), name, text: variableText }),
  z.strictObject({ type: z.literal("json"), name, json }),
  z.strictObject({ type: z.literal("kv_namespace"), name, namespace_id: z.string() }),
  z.strictObject({ type: z.literal("r2_bucket"), name, bucket_name: z.string() }),
  z.strictObject({
    type: z.literal("queue"),
    name,
    queue_name: z.string(),
    delivery_delay: DELAY_SECONDS.exactOptional(),
  }),
  // Whether the id is one is for Cloudflare's own message, which wrangler recognizes.
  z.strictObject({ type: z.literal("d1"), name, id: z.string().default("") }),
  z.strictObject({
    type: z.literal("service"),
    name,
    service: z.string(),
    entrypoint: z.string().min(1).exactOptional(),
    props: z.json().exactOptional(),
    // Scripts have no other.
    environment: z.literal("production").exactOptional(),
  }),
  z.strictObject({ type: z.literal("version_metadata"), name }),
  z.strictObject({ type: z.literal("inherit"), name }),
]);

/** A binding as an upload declares it: Cloudflare's shape. */
export type UploadBinding = z.output<typeof binding>;

export const bindings = z.array(binding);

const BUILT = new Set([
  "plain_text",
  "secret_text",
  "json",
  "kv_namespace",
  "r2_bucket",
  "d1",
  "queue",
  "service",
  "version_metadata",
  "inherit",
]);

const NOT_BUILT = new Map([
  ["durable_object_namespace", "Durable Objects are"],
  ["workflow", "Workflows are"],
  ["assets", "static assets are"],
  ["ratelimit", "rate limits are"],
  ["analytics_engine", "Analytics Engine is"],
  ["hyperdrive", "Hyperdrive is"],
  ["dispatch_namespace", "dispatch namespaces are"],
  ["worker_loader", "the Worker Loader is"],
  ["secret_key", "secret keys are"],
  ["secrets_store_secret", "the Secrets Store is"],
  ["mtls_certificate", "client certificates are"],
  ["send_email", "email is"],
  ["browser", "Browser Rendering is"],
  ["ai", "Workers AI is"],
  ["vectorize", "Vectorize is"],
  ["pipelines", "Pipelines are"],
  ["wasm_module", "the service-worker format is"],
  ["text_blob", "the service-worker format is"],
  ["data_blob", "the service-worker format is"],
]);

/** Throws for the first binding of a type that cannot be had, so that the type itself is named. */
export function refuseUnknownTypes(value: unknown): void {
  if (!Array.isArray(value)) return;
  for (const [index, entry] of value.entries()) {
    const { type, name } = (entry ?? {}) as { type?: unknown; name?: unknown };
    if (typeof type === "string" && BUILT.has(type)) continue;
    const what = NOT_BUILT.get(String(type));
    if (what) throw notBuilt(`bindings.${index} (${String(name)}, type "${String(type)}")`, what);
    throw invalid(10021, `bindings.${index}.type`, type, `one of ${[...BUILT].join(", ")}`);
  }
}
