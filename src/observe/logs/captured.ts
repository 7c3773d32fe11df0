/**
 * How isolates without a tail tell the platform what their workers write with `console`: the prelude collects
 * it, and calls a stub that the user's code cannot see.
 */

/** Members of `env` until the prelude has taken them; no binding can have such names. */
export const CAPTURE_STUB = "mayfly:lines";
export const CAPTURE_RATE = "mayfly:rate";

/**
 * A line on its way: the invocation's id, level, milliseconds since 1970, arguments, and whether there would
 * have been more.
 */
export type CapturedLine = [
  id: string,
  level: string,
  at: number,
  message: unknown[],
  truncated?: true,
];

/** Takes the JSON of an array of `CapturedLine`. */
export type TakeLines = (lines: string) => Promise<void>;

/** Of an invocation's lines together, as on Cloudflare. */
export const MAX_LOG_BYTES = 256 * 1024;

/** What the runtime's own tail says then. */
export const TOO_MUCH =
  "Log size limit exceeded: More than 256KB of data (across console.log statements, exception, request metadata and headers) was logged during a single request. Subsequent data for this request will not be recorded in logs, appear when tailing this Worker's logs, or in Tail Workers.";
