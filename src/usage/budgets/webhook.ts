import { toBase64 } from "../../catalog/crypto.ts";
import type { Webhook } from "./protocol.ts";

const PREFIX = "whsec_";
const SECRET_BYTES = 32;
const encoder = new TextEncoder();

/** A secret as Standard Webhooks has them: `whsec_` and base64. */
export const newSecret = (): string =>
  PREFIX + toBase64(crypto.getRandomValues(new Uint8Array(SECRET_BYTES)));

/**
 * The request with which a message is sent, signed as Standard Webhooks says:
 * https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 * `now` in milliseconds since 1970.
 */
export async function signedWebhook(
  url: string,
  secret: string,
  messageId: string,
  body: string,
  now: number,
): Promise<Webhook> {
  const timestamp = String(Math.floor(now / 1000));
  const key = await crypto.subtle.importKey(
    "raw",
    Uint8Array.from(atob(secret.slice(PREFIX.length)), (char) => char.charCodeAt(0)),
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["sign"],
  );
  const signed = encoder.encode(`${messageId}.${timestamp}.${body}`);
  const signature = new Uint8Array(await crypto.subtle.sign("HMAC", key, signed));
  return {
    url,
    headers: {
      "content-type": "application/json",
      "user-agent": "Mayfly-Webhook",
      "webhook-id": messageId,
      "webhook-timestamp": timestamp,
      "webhook-signature": `v1,${toBase64(signature)}`,
    },
    body,
  };
}
