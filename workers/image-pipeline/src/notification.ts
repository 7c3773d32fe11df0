/**
 * What the bucket tells of a change, as far as it matters here:
 * https://developers.cloudflare.com/r2/buckets/event-notifications/#message-format
 */
export interface Notification {
  object: { key: string };
}
