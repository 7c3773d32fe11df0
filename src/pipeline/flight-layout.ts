// What the recorder in an executor and the reader in the supervisor agree on. Little endian: a header,
// whose first bytes are the mark that the supervisor gave the process, then slots.

/** Of the mark. */
export const MARK_BYTES = 16;
/** In the header, uint32: grows with each flight that begins or ends. */
export const MOVES_OFFSET = 16;
/**
 * In the header, float64 each, written by the supervisor some times in a second: how much CPU time in milliseconds
 * the process's thread had used, and when that was, in milliseconds since 1970. 0 until it is known.
 */
export const CPU_OFFSET = 24;
export const CPU_AT_OFFSET = 32;
export const HEADER_BYTES = 64;

/**
 * Of one slot: script id (16 bytes), when it was taken in milliseconds since 1970 (float64), CPU limit in
 * milliseconds (uint32), its use (uint32). A free one still says whose it was, and in place of the limit for
 * how many milliseconds.
 */
export const SLOT_BYTES = 32;
/** More than may be in flight in one executor: see the limits in `admit.ts`. */
export const SLOTS = 8_192;

/** Most invocations that are begun before anything else gets its turn; see `pace.ts`. */
export const AT_ONCE = 32;

/** What a slot is used for. */
export const FREE = 0;
/** Code of the script is being run, or may be run at any moment. */
export const IN_FLIGHT = 1;
/** An isolate without tail is there, in which `waitUntil` may go on unseen. */
export const LINGERING = 2;
