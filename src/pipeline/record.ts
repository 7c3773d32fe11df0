/** How an invocation ended, in workerd's words. */
export type Outcome =
  | "ok"
  | "exception"
  | "exceededCpu"
  | "exceededMemory"
  | "exceededWallTime"
  | "scriptNotFound"
  | "canceled"
  | "internalError";

/** What is kept of one invocation. */
export interface Invocation {
  id: string;
  accountId: string;
  scriptName: string;
  versionId: string;
  /** What caused it. */
  trigger: "fetch" | "rpc";
  startedAt: string;
  wallTimeMs: number;
  /** The isolate it ran in: started ahead, started for it, or already at work. */
  startKind: "spare" | "cold" | "warm";
  outcome: Outcome;
  status: number | null;
}
