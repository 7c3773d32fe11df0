import type { Outcome } from "../../pipeline/record.ts";

/** One run of a cron's slot. Times are milliseconds since 1970. */
export interface CronRun {
  id: number;
  scriptId: string;
  accountId: string;
  scriptName: string;
  cron: string;
  /** The slot. */
  scheduledTime: number;
  /** The slot had been missed. */
  caughtUp: boolean;
  /** When it began, the last time if several; missing while it waits for its first time. */
  startedAt: number | undefined;
  /** Missing until it is over for good. */
  endedAt: number | undefined;
  outcome: Outcome | undefined;
  /** What the handler threw, or why it was not run to its end. */
  error: string | undefined;
  /** How often it was begun. */
  tries: number;
  /** The handler has said that it must not run again. */
  noRetry: boolean;
}
