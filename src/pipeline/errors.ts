import type { PageError } from "./error-page.ts";

// All that can keep a request from a worker's answer. Texts name no other account's things.

export function hostUnknown(domain: string, port: string | undefined): PageError {
  const base = port ? `${domain}:${port}` : domain;
  return {
    status: 404,
    code: "host_not_found",
    title: "Nothing is served here",
    detail: `Workers answer at {script}.{subdomain}.${base}, at their routes and at their custom domains; the API is at ${base}/client/v4.`,
  };
}

export const targetInvalid: PageError = {
  status: 400,
  code: "invalid_target",
  title: "Bad request",
  detail: "The request needs a path, and a Host header with a host and nothing else.",
};

export const pathUnknown: PageError = {
  status: 404,
  code: "route_not_found",
  title: "Nothing is served here",
  detail: "No worker's route takes this path of this host.",
};

export const workerThrew = (invocationId: string): PageError => ({
  status: 500,
  code: "worker_exception",
  title: "Worker threw exception",
  detail: "The worker failed. Its log has the exception under the invocation's id.",
  invocationId,
});

export const wallTimeExceeded = (invocationId: string, limitMs: number): PageError => ({
  status: 504,
  code: "wall_time_exceeded",
  title: "Worker took too long",
  detail: `The worker did not begin its response within its limit of ${limitMs} ms.`,
  invocationId,
});

export const resourcesExceeded = (invocationId: string): PageError => ({
  status: 503,
  code: "exceeded_resources",
  title: "Error 1102: Worker exceeded resource limits",
  detail: "The worker used more CPU time or memory than it may.",
  invocationId,
});

export const cutShort = (invocationId: string): PageError => ({
  status: 503,
  code: "cut_short",
  title: "Worker was cut short",
  detail: "The process that it ran in had to be ended, not on its account. Try again.",
  invocationId,
  retryAfterSeconds: 1,
});

export const loopLimit: PageError = {
  status: 508,
  code: "loop_limit",
  title: "Error 1019: Worker hit loop limit",
  detail: "Workers called one another, or one called itself, more than 16 times.",
};

export const bodyTooLarge = (limitBytes: number): PageError => ({
  status: 413,
  code: "body_too_large",
  title: "Request body too large",
  detail: `A request's body may have at most ${limitBytes} bytes.`,
});

export const bodyIncomplete: PageError = {
  status: 400,
  code: "body_incomplete",
  title: "Request body incomplete",
  detail: "The request's body broke off before its end, or its encoding was wrong.",
};

export const urlTooLong = (limitBytes: number): PageError => ({
  status: 414,
  code: "url_too_long",
  title: "URL too long",
  detail: `A request's URL may have at most ${limitBytes} bytes.`,
});

export const tooManyInFlight = (of: string, limit: number): PageError => ({
  status: 429,
  code: "too_many_requests",
  title: "Too many requests at once",
  detail: `At most ${limit} invocations of ${of} may be in flight at once.`,
  retryAfterSeconds: 1,
});

export const budgetExhausted = (retryAfterSeconds: number): PageError => ({
  status: 429,
  code: "budget_exhausted",
  title: "Error 1027: Worker exceeded its budget",
  detail: "What its owner lets the worker use in this time is used up.",
  retryAfterSeconds,
});

export const noCapacity: PageError = {
  status: 503,
  code: "no_capacity",
  title: "No capacity",
  detail: "Too many isolates are at work. Try again in a moment.",
  retryAfterSeconds: 1,
};

export const stateUnavailable: PageError = {
  status: 503,
  code: "state_unavailable",
  title: "Not available",
  detail: "The platform's state does not answer. Try again in a moment.",
  retryAfterSeconds: 1,
};
