import { createHmac } from "node:crypto";

/** Unix seconds. */
export const now = (): number => Math.floor(Date.now() / 1000);

/** One signature of the scheme v1: https://docs.stripe.com/webhooks/signature */
export function v1(body: string | Uint8Array, secret: string, timestamp: number): string {
  return createHmac("sha256", secret).update(`${timestamp}.`).update(body).digest("hex");
}

/** The header as Stripe sends it in live mode. */
export function signatureHeader(body: string | Uint8Array, secret: string, at = now()): string {
  return `t=${at},v1=${v1(body, secret, at)}`;
}
