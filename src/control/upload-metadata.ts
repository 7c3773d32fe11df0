import * as z from "zod";
import { CATCH_UP_POLICIES } from "../triggers/cron/catch-up.ts";
import { parse, parseJson } from "./body.ts";
import {
  checkCompatibilityDate,
  checkCompatibilityFlags,
  OLDEST_COMPATIBILITY_DATE,
} from "./compatibility.ts";
import { declaredDatabaseChanges } from "./declared-database-changes.ts";
import { ApiError, invalid, notBuilt } from "./error.ts";
import { observability } from "./observability.ts";
import { bindings, refuseUnknownTypes } from "./upload-bindings.ts";
import {
  MAX_ANNOTATION_LENGTH,
  MAX_CPU_MS,
  MAX_METADATA_BYTES,
  MAX_TAIL_CONSUMERS,
  MAX_WALL_TIME_MS,
  MIN_CPU_MS,
} from "./upload-limits.ts";

/** What Mayfly alone has: `unsafe.metadata.mayfly` in wrangler's configuration. */
export const mayflySettings = z.strictObject({
  /** `request`: an isolate of its own for every invocation. `shared`: one isolate serves many. */
  isolation: z.enum(["shared", "request"]).exactOptional(),
  /** Wall time until a response must have begun, in milliseconds. Default: 30 seconds. */
  wall_time_ms: z.int().min(1).max(MAX_WALL_TIME_MS).exactOptional(),
  /** Tables whose changes go to queues while the version is deployed. */
  database_changes: declaredDatabaseChanges.exactOptional(),
  /** Which of the cron slots that passed while the platform was down are run. Default: `latest`. */
  cron_catch_up: z.enum(CATCH_UP_POLICIES).exactOptional(),
});

export type MayflySettings = z.output<typeof mayflySettings>;

const limits = z.strictObject({
  /** CPU time of an invocation, in milliseconds; the platform's own maximum is checked later. */
  cpu_ms: z.int().min(MIN_CPU_MS).max(MAX_CPU_MS).exactOptional(),
});

/** What a version may use: `limits` in wrangler's configuration. */
export type Limits = z.output<typeof limits>;

/** Cloudflare's notes on a version or deployment, such as `workers/message` and `workers/tag`. */
export const annotations = z.record(
  z.string().regex(/^workers\/[a-z_]+$/, 'must be called "workers/" and a word'),
  z.string().max(MAX_ANNOTATION_LENGTH),
);

// Becomes the first label of an address: <alias>-<script>.
const alias = z
  .string()
  .regex(/^[a-z]([a-z0-9-]*[a-z0-9])?$/, "must be of a-z, 0-9 and -, and begin with a letter");

const options = z.record(z.string(), z.unknown());

// wrangler and others send null for what is not set.
const unless = <T extends z.ZodType>(schema: T) =>
  schema.nullish().transform((value) => value ?? undefined);

const tailConsumer = z.strictObject({
  service: z.string().min(1),
  // There is one environment of each script.
  environment: unless(z.string()),
});

/** Settings of a script: they come with uploads, and alone. */
export const scriptSettings = {
  tags: unless(z.array(z.string())),
  logpush: unless(z.boolean()),
  observability: unless(observability),
  tail_consumers: unless(z.array(tailConsumer).max(MAX_TAIL_CONSUMERS)),
};

// Have no meaning on one machine: kept with the version and shown again, without effect.
const withoutEffect = {
  placement: options.exactOptional(),
  cache_options: options.exactOptional(),
  package_dependencies: z.array(options).exactOptional(),
  code_update_strategy: options.exactOptional(),
  keep_assets: z.boolean().exactOptional(),
  usage_model: z.string().exactOptional(),
};

const metadata = z.strictObject({
  main_module: z.string().min(1, "must name a module"),
  bindings: bindings.default([]),
  keep_bindings: z.array(z.enum(["plain_text", "json", "secret_text", "secret_key"])).default([]),
  compatibility_date: z.string().default(OLDEST_COMPATIBILITY_DATE),
  compatibility_flags: z.array(z.string()).default([]),
  annotations: annotations.default({}),
  mayfly: mayflySettings.exactOptional(),
  limits: unless(limits),
  ...scriptSettings,
  ...withoutEffect,
});

/** The `metadata` part of an upload: Cloudflare's shape, and `mayfly`. */
export type UploadMetadata = z.output<typeof metadata>;

const NOT_BUILT = {
  body_part: "the service-worker format is",
  assets: "static assets are",
  migrations: "Durable Objects are",
  exports: "Durable Objects and Workflows are",
  containers: "containers are",
  capnp_schema: "Cap'n Proto schemas are",
  streaming_tail_consumers: "streaming tail consumers are",
};

/** The metadata; throws 10021 naming the member that is wrong or cannot be had yet. */
export function parseMetadata(text: string): UploadMetadata {
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > MAX_METADATA_BYTES) {
    throw new ApiError(
      400,
      10021,
      `metadata: got ${bytes} bytes, must be at most ${MAX_METADATA_BYTES}`,
    );
  }
  const value = parseJson(text, 10021, "metadata");
  const parsed = parse(metadata, withoutNotBuilt(value), 10021, "metadata");
  checkCompatibilityDate(parsed.compatibility_date, new Date().toISOString().slice(0, 10));
  checkCompatibilityFlags(parsed.compatibility_flags);
  checkNames(parsed.bindings);
  const { "workers/alias": preview } = parsed.annotations;
  if (preview !== undefined) parse(alias, preview, 10021, "annotations.workers/alias");
  return parsed;
}

/** Throws for members that ask for what is not built; empty ones ask for nothing and are left out. */
function withoutNotBuilt(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const rest: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(value)) {
    if (name in NOT_BUILT) refuse(name as keyof typeof NOT_BUILT, member);
    else rest[name] = member;
  }
  const { limits: limited } = rest as { limits?: object | null };
  if (typeof limited === "object" && limited && "subrequests" in limited) {
    throw notBuilt("limits.subrequests", "subrequest limits per version are");
  }
  refuseUnknownTypes(rest["bindings"]);
  return rest;
}

function refuse(name: keyof typeof NOT_BUILT, member: unknown): void {
  if (member === null) return;
  if (typeof member !== "object") throw notBuilt(name, NOT_BUILT[name]);
  const [part] = Object.keys(member);
  if (part === undefined) return;
  throw notBuilt(Array.isArray(member) ? name : `${name}.${part}`, NOT_BUILT[name]);
}

function checkNames(list: UploadMetadata["bindings"]): void {
  const names = new Set<string>();
  for (const [index, { name }] of list.entries()) {
    if (names.has(name)) {
      throw invalid(10021, `bindings.${index}.name`, name, "the name of one binding only");
    }
    names.add(name);
  }
}
