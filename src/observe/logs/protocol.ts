import type { Invocation } from "../../pipeline/record.ts";
import type { KeptEvent } from "./kept-row.ts";

/** What is to be found among the kept invocations of a script. Times are milliseconds since 1970. */
export interface LogsQuery {
  /** When it began. */
  since?: number | undefined;
  until?: number | undefined;
  /** Place in `LEVELS`: that of a line, or a more severe one. */
  level?: number | undefined;
  /** In the text of a line or in the URL; upper and lower case are the same. */
  search?: string | undefined;
  /** Members of what a line says as JSON. */
  fields: FieldFilter[];
  invocation?: string | undefined;
  outcome?: string | undefined;
  trigger?: string | undefined;
  limit: number;
  cursor?: LogsCursor | undefined;
}

export interface FieldFilter {
  path: string[];
  /** Undefined: whatever it is. */
  value: string | undefined;
}

/** Where a listing goes on: at what began before, or at what has changed since. */
export interface LogsCursor {
  order: "older" | "newer";
  /** When the last one began, or the number of its change. */
  at: number;
  /** Its id. */
  id: string;
}

/** An invocation as it is stored. */
export interface StoredInvocation extends Pick<
  Invocation,
  | "entrypoint"
  | "wallTimeMs"
  | "cpuTimeMs"
  | "startKind"
  | "status"
  | "requestBytes"
  | "responseBytes"
> {
  id: string;
  versionId: string;
  startedAt: number;
  /** Undefined while it has not ended, or if its end was cut short. */
  trigger: Invocation["trigger"] | undefined;
  outcome: Invocation["outcome"] | undefined;
  event: KeptEvent | undefined;
  truncated: boolean;
  logs: { level: string; at: number; message: unknown[]; fields?: Record<string, unknown> }[];
  exceptions: { name: string; message: string; stack?: string; at: number }[];
}

export interface LogsPage {
  invocations: StoredInvocation[];
  /** Undefined if that is all. */
  next: LogsCursor | undefined;
  /** For what will have changed after this page was read. */
  newer: LogsCursor;
}
