/**
 * Invocations of kept logs, in the form in which they travel: as arrays, since state takes each member of each
 * of them from JSON. What nobody looks for is text that it stores as it is.
 */
import type { Invocation } from "../../pipeline/record.ts";
import type { TraceEvent } from "../observed.ts";
import type { StoredLine } from "./line.ts";

/** Lines of an invocation, or its end, or both. */
export type KeptRow = [
  id: string,
  /** Without an end: when the first of the lines was written. */
  startedAt: number,
  /** Null without an end, like the outcome. */
  trigger: Invocation["trigger"] | null,
  outcome: Invocation["outcome"] | null,
  /** The most severe of the lines by its place in `LEVELS`; a failed invocation is an error. */
  level: number,
  /** How many. */
  lines: number,
  /** About what it takes on the disk. */
  bytes: number,
  truncated: boolean,
  /** JSON of a `KeptRest`. */
  rest: string,
];

/** Names of the columns that these are stored in. */
export const KEPT_COLUMNS = [
  "id",
  "started_at",
  "trigger",
  "outcome",
  "level",
  "lines",
  "bytes",
  "truncated",
  "rest",
] as const satisfies { length: KeptRow["length"] };

/** What is only shown. Without an end it is the version alone. */
export type KeptRest = [
  versionId: string,
  entrypoint?: string | null,
  wallTimeMs?: number,
  cpuTimeMs?: number,
  startKind?: Invocation["startKind"],
  status?: number | null,
  requestBytes?: number,
  responseBytes?: number,
  event?: KeptEvent | null,
];

/** What caused an invocation, without headers, which may be secret. */
export type KeptEvent =
  { request: { method: string; url: string } } | Exclude<TraceEvent, { request: unknown }>;

/** A line and the id of its invocation. */
export type KeptLine = [invocation: string, ...StoredLine];

/** What a report brings of one script. */
export interface KeptLogs {
  /** JSON of an array of `KeptRow`. */
  invocations: string;
  /** The same, of invocations that are of no interest without lines and come without. Undefined: none. */
  silent: string | undefined;
  /** JSON of an array of `KeptLine`. Undefined: none. */
  lines: string | undefined;
  /** Sum of the bytes of `invocations`. */
  bytes: number;
}
