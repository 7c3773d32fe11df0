const encoder = new TextEncoder();

export function sha256(data: string | Uint8Array | ArrayBuffer): Promise<ArrayBuffer> {
  return crypto.subtle.digest("SHA-256", typeof data === "string" ? encoder.encode(data) : data);
}

export function hex(bytes: ArrayBuffer | Uint8Array): string {
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Random bytes in hex, two digits each. */
export function randomHex(bytes: number): string {
  return hex(crypto.getRandomValues(new Uint8Array(bytes)));
}

export const toBase64 = (bytes: Uint8Array): string =>
  btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
const fromBase64 = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text), (char) => char.charCodeAt(0));

const IV_BYTES = 12;

async function importKey(
  key: string | undefined,
  algorithm: "AES-GCM" | "HMAC",
): Promise<CryptoKey> {
  if (!key) throw new Error("MAYFLY_SECRETS_KEY is not set: secrets cannot be kept");
  return algorithm === "HMAC"
    ? crypto.subtle.importKey("raw", fromBase64(key), { name: "HMAC", hash: "SHA-256" }, false, [
        "sign",
        "verify",
      ])
    : crypto.subtle.importKey("raw", fromBase64(key), "AES-GCM", false, ["encrypt", "decrypt"]);
}

/** Encrypts for storage; `context` must be the same at decryption, so that texts cannot be swapped. */
export async function seal(
  key: string | undefined,
  context: string,
  text: string,
): Promise<string> {
  const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
  const sealed = await crypto.subtle.encrypt(
    { name: "AES-GCM", iv, additionalData: encoder.encode(context) },
    await importKey(key, "AES-GCM"),
    encoder.encode(text),
  );
  const bytes = new Uint8Array(IV_BYTES + sealed.byteLength);
  bytes.set(iv);
  bytes.set(new Uint8Array(sealed), IV_BYTES);
  return toBase64(bytes);
}

/** The text that `seal` was given. Throws if key, context or ciphertext is another. */
export async function open(
  key: string | undefined,
  context: string,
  sealed: string,
): Promise<string> {
  const bytes = fromBase64(sealed);
  const text = await crypto.subtle.decrypt(
    { name: "AES-GCM", iv: bytes.subarray(0, IV_BYTES), additionalData: encoder.encode(context) },
    await importKey(key, "AES-GCM"),
    bytes.subarray(IV_BYTES),
  );
  return new TextDecoder().decode(text);
}

/** A keyed signature of `text`, in hex, for links that need no token. */
export async function sign(key: string | undefined, text: string): Promise<string> {
  return hex(await crypto.subtle.sign("HMAC", await importKey(key, "HMAC"), encoder.encode(text)));
}

/** Whether `signature` is what `sign` gives for `text`; compares in constant time. */
export async function verify(
  key: string | undefined,
  text: string,
  signature: string,
): Promise<boolean> {
  const expected = encoder.encode(await sign(key, text));
  const given = encoder.encode(signature);
  return expected.length === given.length && crypto.subtle.timingSafeEqual(expected, given);
}
