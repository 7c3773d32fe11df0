import { randomHex } from "../catalog/crypto.ts";

// Random values may not be made while the Worker starts, hence on first use.
let prefix: string | undefined;
let count = 0;

/** 8 hex digits, others in each process. */
export function processId(): string {
  return (prefix ??= randomHex(4));
}

/**
 * An id for one invocation: 16 hex digits, as long as a Cloudflare ray id. Unique by the process's
 * random half and a counter, which costs the hot path no random number.
 */
export function nextInvocationId(): string {
  count = (count + 1) >>> 0;
  return processId() + count.toString(16).padStart(8, "0");
}
