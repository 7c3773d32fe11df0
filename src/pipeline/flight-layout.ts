// What the recorder in an executor and the reader in the supervisor agree on.

/** The recorder's first bytes, each inverted, so that this text itself is not taken for it. */
export const FLIGHT_MARK = [
  0x9c, 0x31, 0xe7, 0x05, 0xb2, 0x6f, 0xd8, 0x44, 0x1a, 0xf3, 0x7d, 0x90, 0x2b, 0xc6, 0x58, 0xe1,
];
export const HEADER_BYTES = 64;
export const SLOT_BYTES = 32;
/** More than may be in flight in one executor: see the limits in `admit.ts`. */
export const SLOTS = 8_192;
