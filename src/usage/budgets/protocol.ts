/** What executors and an account's budgets say to each other. */
import type { Rates } from "./money.ts";
import type { Period } from "./period.ts";

/** How much an account, or one of its scripts, may use, and what happens then. */
export interface Budget {
  name: string;
  /** Undefined: all of the account's. */
  scriptName: string | undefined;
  unit: "invocations" | "cpu_ms" | "usd";
  /** In the unit. */
  amount: number;
  /** Of one in dollars. */
  rates: Rates | undefined;
  period: Period;
  /** Shares of the amount, above 0 and up to 1, at which somebody is told. */
  warnAt: number[];
  /** When it is used up: nothing, at most `throttlePerSecond` invocations a second, or none. */
  action: "warn" | "throttle" | "stop";
  throttlePerSecond: number | undefined;
  /** Where warnings are sent to. */
  webhook: string | undefined;
}

/** An executor asks for invocations of a script. While it asks it holds none. */
export interface LeaseRequest {
  /** Of the process that asks. */
  processId: string;
  scriptId: string;
  scriptName: string;
  /** Greater with each request of the process. */
  number: number;
  /** Of all invocations that the process was ever granted for the script, those that it has begun. */
  spent: number;
  /** How many it could use; 0: it only says what it has spent. */
  wanted: number;
}

/** How many invocations of a script an executor may begin. */
export interface Lease {
  /** All that the process was ever granted for the script. */
  granted: number;
  /** If something was granted: until when it may be spent, in milliseconds since 1970. */
  until: number;
  /** What has been taken back by a later turn than this must not be spent. */
  turn: number;
  /** If nothing was: */
  refused?: {
    /** When there may be something again. */
    retryAt: number;
    /** Until when it is of no use to ask. */
    until: number;
  };
}

/** What a process has given back. */
export interface Returned {
  processId: string;
  /** For each of the account's scripts that it was granted something for: all that it has spent. */
  spent: { scriptId: string; spent: number }[];
}

/** How a budget stands. */
export interface BudgetUse {
  name: string;
  /** In the budget's unit, since the period began. */
  used: number;
  periodStart: number;
  periodEnd: number;
}

/** A request to be sent to a host on an account's behalf. */
export interface Webhook {
  url: string;
  headers: Record<string, string>;
  body: string;
}
