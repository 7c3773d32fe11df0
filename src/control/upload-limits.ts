/** What an upload may be at most. Cloudflare's: https://developers.cloudflare.com/workers/platform/limits/ */
const KiB = 1024;
const MiB = 1024 * KiB;

/** All modules of a version: they cross between the platform's processes in one message of 32 MiB. */
export const MAX_CODE_BYTES = 28 * MiB;
/** The whole form, with source maps, which are not kept. */
export const MAX_FORM_BYTES = 90 * MiB;
/** Modules of a version. */
export const MAX_MODULES = 1000;
/** The `metadata` part; Cloudflare allows as much. */
export const MAX_METADATA_BYTES = MiB;
/** Variables of a version, secrets among them; Cloudflare's for paid plans. */
export const MAX_VARIABLES = 128;
/** Each variable's text, or JSON, in UTF-8; Cloudflare's. */
export const MAX_VARIABLE_BYTES = 5 * KiB;
/** An annotation, such as a version's message. */
export const MAX_ANNOTATION_LENGTH = 1000;
/** Workers that are told of another one's invocations. */
export const MAX_TAIL_CONSUMERS = 10;
/** Top-level code must have run by then, on Cloudflare within one second. */
export const MAX_STARTUP_MS = 3000;
/** CPU time that `limits.cpu_ms` may ask for, in milliseconds; the maximum is Cloudflare's. */
export const MIN_CPU_MS = 10;
export const MAX_CPU_MS = 300_000;
/** Wall time that `unsafe.metadata.mayfly` may ask for. */
export const MAX_WALL_TIME_MS = 600_000;
