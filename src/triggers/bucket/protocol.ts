import type { Action } from "../../catalog/bucket-notifications.ts";

/** A change of an object that queues are to be told of. */
export interface Change {
  /** 32 hex digits: the id of its message, however often it is told. */
  id: string;
  action: Action;
  account: string;
  bucket: string;
  key: string;
  /** The object's name in the platform's own bucket. */
  name: string;
  queueIds: string[];
}

/** An object as a notification tells of it. */
export interface StoredObject {
  version: string;
  size: number;
  eTag: string;
  /** Milliseconds since 1970. */
  uploadedAt: number;
}

/** What has become of changes; `unchanged` if a condition of the request did not hold. */
export type Outcome = StoredObject | "deleted" | "unchanged";

/**
 * The body of a message:
 * https://developers.cloudflare.com/r2/buckets/event-notifications/#message-format
 */
export interface Notification {
  account: string;
  bucket: string;
  eventTime: string;
  action: Action;
  /** Size and eTag are missing where the object is. */
  object: { key: string; size?: number; eTag?: string };
}

/** Whether the action is one that leaves no object behind. */
export const isDeletion = (action: Action): boolean =>
  action === "DeleteObject" || action === "LifecycleDeletion";
