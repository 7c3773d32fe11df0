/** A version that a deployment gives traffic to, with what dispatch must know before loading it. */
export interface VersionTarget {
  versionId: string;
  scriptId: string;
  /** 0 to 100; those of a script add up to 100. */
  percentage: number;
  isolation: Isolation;
  /** Wall time until the response begins, in milliseconds. */
  wallTimeMs: number;
  /** Its own limit of CPU time in milliseconds; without one the platform's default holds. */
  cpuMs?: number;
  /** Sum of its modules' sizes: what an isolate's memory is estimated from. */
  codeBytes: number;
  /** Its annotations `workers/tag` and `workers/message`. */
  tag?: string;
  message?: string;
}

/** `request`: an isolate of its own for every invocation. `shared`: one isolate serves many. */
export type Isolation = "request" | "shared";

/** What a script has exceeded, or may have. */
export type ApartReason = "exceededCpu" | "exceededMemory";

/** That a script runs apart from the others. */
export interface Apart {
  /** Milliseconds since 1970. */
  until: number;
  reason: ApartReason;
  /** False if it is one of several that may have exceeded it. */
  culprit: boolean;
}

/** How a script's logs are kept: `observability` in its settings. */
export interface Keep {
  /** Share of the invocations, above 0 and up to 1. */
  rate: number;
  /** Those that have written nothing are not kept. */
  linesOnly?: boolean;
  /** URLs are kept without their queries. */
  withoutQuery?: boolean;
}

/** Who wants to see a script's invocations, beside those who count them. */
export interface Observe {
  /** Which of them are kept with their logs; missing: none are. */
  keep?: Keep;
  /** Sessions of `wrangler tail` are open. */
  tailed?: true;
  /** The account's scripts whose `tail()` handlers are told. */
  consumers?: string[];
}

/** A deployed script. */
export interface ScriptTarget {
  accountId: string;
  scriptId: string;
  scriptName: string;
  versions: VersionTarget[];
  apart?: Apart;
  /** Missing: nobody. */
  observe?: Observe;
  /** Budgets may keep it from running: see `usage/budgets/spend.ts`. */
  budgets?: true;
}

/** A route whose host part matches; its path pattern is `prefix` with anything after, or exact. */
export interface PathRoute {
  /** "http" or "https" if the pattern names a scheme. */
  scheme: string | undefined;
  /** Path with query, without the trailing `*`. */
  path: string;
  wildcard: boolean;
  /** Undefined: requests that match stay without a worker. */
  target: ScriptTarget | undefined;
}

/** All that is served under one host name, most specific route first. */
export interface HostTable {
  routes: PathRoute[];
  /** Takes what no route takes: a custom domain or a `<script>.<subdomain>` address. */
  fallback: ScriptTarget | undefined;
}
