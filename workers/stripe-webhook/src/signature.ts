/**
 * Stripe's signature of a delivery, as documented at https://docs.stripe.com/webhooks/signature:
 * a header `t=<Unix seconds>,v1=<hex>[,v1=<hex>…]` where v1 is the HMAC-SHA256 of `<t>.<raw body>`.
 * While a secret is being replaced there is one v1 for each; other schemes (v0) do not count.
 */

/** How far from now the time of a signature may lie, in either direction. */
export const TOLERANCE_SECONDS = 300;

const SIGNATURE_BYTES = 32;
const encoder = new TextEncoder();

/** Why a delivery is not believed. */
export type SignatureProblem =
  "signature_missing" | "signature_malformed" | "signature_mismatch" | "timestamp_out_of_tolerance";

/**
 * Checks the header against the body exactly as it was received. The time is judged only after the
 * signature has matched, so that a stranger learns nothing from it.
 */
export async function verifySignature(
  header: string | null,
  body: Uint8Array,
  secret: string,
  nowSeconds: number,
): Promise<SignatureProblem | undefined> {
  if (!header) return "signature_missing";
  const { timestamp, signatures } = parseHeader(header);
  if (timestamp === undefined || signatures.length === 0) return "signature_malformed";

  const expected = await sign(`${timestamp}.`, body, secret);
  // No early exit: how long it takes does not depend on which signature matched.
  let matches = false;
  for (const signature of signatures) {
    if (crypto.subtle.timingSafeEqual(signature, expected)) matches = true;
  }
  if (!matches) return "signature_mismatch";
  if (Math.abs(nowSeconds - Number(timestamp)) > TOLERANCE_SECONDS) {
    return "timestamp_out_of_tolerance";
  }
  return undefined;
}

// The timestamp stays text: it is signed as it was written.
function parseHeader(header: string): { timestamp: string | undefined; signatures: Uint8Array[] } {
  let timestamp: string | undefined;
  const signatures: Uint8Array[] = [];
  for (const part of header.split(",")) {
    const [, name, value] = /^\s*(\w+)=(\w+)\s*$/.exec(part) ?? [];
    if (name === "t" && value && /^\d{1,15}$/.test(value)) timestamp ??= value;
    if (name === "v1" && value) {
      const signature = fromHex(value);
      if (signature) signatures.push(signature);
    }
  }
  return { timestamp, signatures };
}

function fromHex(hex: string): Uint8Array | undefined {
  if (hex.length !== SIGNATURE_BYTES * 2 || !/^[0-9a-f]+$/.test(hex)) return undefined;
  return Uint8Array.from({ length: SIGNATURE_BYTES }, (_, i) =>
    Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16),
  );
}

async function sign(prefix: string, body: Uint8Array, secret: string): Promise<ArrayBuffer> {
  const head = encoder.encode(prefix);
  const payload = new Uint8Array(head.length + body.length);
  payload.set(head);
  payload.set(body, head.length);
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), algorithm, false, [
    "sign",
  ]);
  return crypto.subtle.sign("HMAC", key, payload);
}
