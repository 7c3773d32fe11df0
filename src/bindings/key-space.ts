import { hex, sha256 } from "../catalog/crypto.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });

/** Length in bytes of the UTF-8 form, which is what limits on keys count. */
export const byteLength = (text: string): number => encoder.encode(text).byteLength;

/** Hex digits of the hash in the name of a shortened key: 128 bits. */
const HASH_DIGITS = 32;

/** What all names of a namespace or bucket begin with; `number` is its own in the catalog. */
export const keyPrefix = (number: number): string => `${number.toString(36)}:`;

/** How a key is kept: its name in the platform's own store, and what the name had no room for. */
export interface StoredKey {
  name: string;
  /** The end of a shortened key; undefined if the whole key is in the name. */
  tail: string | undefined;
}

/**
 * The keys of one namespace or bucket within the platform's own, all with the same short prefix.
 * Prefix and key together may be longer than the store takes. Such a key is shortened: its name is
 * its first bytes and a hash of all of it, filled up to exactly the store's maximum. All other names
 * are shorter than that, so the two kinds never meet. The rest of the key is kept as metadata.
 */
export class KeySpace {
  readonly prefix: string;
  readonly #maxBytes: number;
  /** Room in the name of a shortened key for its first bytes. */
  readonly #headBytes: number;

  /** `number` is the owner's in the catalog, `maxBytes` the longest name that the store takes. */
  constructor(number: number, maxBytes: number) {
    this.prefix = keyPrefix(number);
    this.#maxBytes = maxBytes;
    this.#headBytes = maxBytes - this.prefix.length - HASH_DIGITS;
  }

  async toStored(key: string): Promise<StoredKey> {
    const bytes = encoder.encode(key);
    if (this.prefix.length + bytes.byteLength < this.#maxBytes) {
      return { name: this.prefix + key, tail: undefined };
    }
    const cut = characterStart(bytes, this.#headBytes);
    const fill = this.#headBytes - cut;
    const hash = hex(await sha256(bytes)).slice(0, HASH_DIGITS);
    return {
      name: this.prefix + decoder.decode(bytes.subarray(0, cut)) + "0".repeat(fill) + hash,
      // The first digit tells how much of the name is filling.
      tail: `${fill}${decoder.decode(bytes.subarray(cut))}`,
    };
  }

  /** Whether the name is that of a shortened key, which has a tail. */
  isShortened(name: string): boolean {
    return byteLength(name) === this.#maxBytes;
  }

  /** The key that `toStored` was given. */
  toKey({ name, tail }: StoredKey): string {
    if (tail === undefined) return name.slice(this.prefix.length);
    return name.slice(this.prefix.length, -HASH_DIGITS - Number(tail[0])) + tail.slice(1);
  }

  /**
   * The prefix by which the store lists at least all keys that begin with `prefix`; more if that is
   * too long, or has a NUL, at which the local simulators end it.
   */
  listPrefix(prefix: string): string {
    const bytes = encoder.encode(prefix.split("\0", 1)[0]);
    return this.prefix + decoder.decode(bytes.subarray(0, characterStart(bytes, this.#headBytes)));
  }
}

/** The last place up to `end` that is not within a character. */
function characterStart(bytes: Uint8Array, end: number): number {
  let at = Math.min(end, bytes.byteLength);
  while (at > 0 && at < bytes.byteLength && ((bytes[at] ?? 0) & 0xc0) === 0x80) at--;
  return at;
}
