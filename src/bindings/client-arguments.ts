// What the shims of several kinds do with their arguments, as the runtime does it for its own classes.

/** Fails as the runtime does if fewer arguments were given than the method needs. */
export function requireArguments(
  given: number,
  method: string,
  owner: string,
  types: string[],
): void {
  const missing = types[given];
  if (missing !== undefined) throw wrongArgument(method, owner, given + 1, missing);
}

export function wrongArgument(
  method: string,
  owner: string,
  position: number,
  type: string,
): TypeError {
  return new TypeError(
    `Failed to execute '${method}' on '${owner}': parameter ${position} is not of type '${type}'.`,
  );
}

/** A method's parameter: method, class, position from 1 and type, as errors name them. */
export type Parameter = readonly [method: string, owner: string, position: number, type: string];

/**
 * The members of `options` that are known and given, as they are. Fails if `options` is not an
 * object where `parameter` must be one.
 */
export function pick<T extends object>(
  options: T | null | undefined,
  members: readonly (keyof T)[],
  parameter?: Parameter,
): Partial<T> {
  const picked: Partial<T> = {};
  if (options === undefined || options === null) return picked;
  if (parameter && typeof options !== "object" && typeof options !== "function") {
    throw wrongArgument(...parameter);
  }
  for (const member of members) {
    if (options[member] !== undefined) picked[member] = options[member];
  }
  return picked;
}

const MAX_INT = 2 ** 31 - 1;

/** A member that is a whole number, as the runtime makes one of whatever is given. */
export function toInt(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  const number = Math.trunc(Number(value)) || 0;
  if (number < -MAX_INT - 1 || number > MAX_INT) {
    throw new TypeError(
      `Value out of range. Must be between ${-MAX_INT - 1} and ${MAX_INT} (inclusive).`,
    );
  }
  return number;
}

/**
 * Bytes up to this length travel in the call itself, larger bodies as streams: a call may not be
 * longer than 32 MiB, and short ones are faster in one piece.
 */
export const INLINE_BYTES = 1024 * 1024;

/** Bytes or text as they are sent. A stream of this kind has a known length. */
export function toBody(
  value: string | ArrayBuffer | ArrayBufferView | Blob,
): Uint8Array | ReadableStream {
  if (typeof value === "string") {
    const bytes = new TextEncoder().encode(value);
    return bytes.byteLength <= INLINE_BYTES ? bytes : streamOf(bytes);
  }
  if (value instanceof Blob) return streamOf(value);
  const bytes = ArrayBuffer.isView(value)
    ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
    : new Uint8Array(value);
  // A view of a part would be sent with all of its buffer.
  return bytes.byteLength <= INLINE_BYTES ? bytes.slice() : streamOf(bytes);
}

function streamOf(value: Uint8Array | Blob): ReadableStream {
  const { body } = new Response(value);
  // Only a response made of null has no body.
  return body as ReadableStream;
}
