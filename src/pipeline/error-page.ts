import { countErrorAnswer } from "../observe/metrics/error-answers.ts";

/** What a caller is told instead of a worker's answer: never a stack, always a stable code. */
export interface PageError {
  status: number;
  /** Stable, snake_case; `docs/errors.md` lists all. */
  code: string;
  title: string;
  detail: string;
  /** To be found in the log; absent where nothing was invoked. */
  invocationId?: string;
  retryAfterSeconds?: number;
}

/** HTML for browsers, JSON for those that ask for it, else one line of text. */
export function errorPage(error: PageError, request: Request): Response {
  countErrorAnswer("fetch", error);
  const { status, code, title, detail, invocationId, retryAfterSeconds } = error;
  const accept = request.headers.get("accept") ?? "";
  const headers = new Headers({ "cache-control": "no-store", "mayfly-error": code });
  if (invocationId) headers.set("cf-ray", invocationId);
  if (retryAfterSeconds) headers.set("retry-after", String(retryAfterSeconds));

  if (accept.includes("text/html")) {
    headers.set("content-type", "text/html; charset=utf-8");
    const id = invocationId ? `<p>Invocation <code>${invocationId}</code></p>` : "";
    return new Response(
      `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title><h1>${status} ${title}</h1><p>${detail}</p><p>Error <code>${code}</code></p>${id}</html>`,
      { status, headers },
    );
  }
  if (accept.includes("application/json")) {
    return Response.json(
      { error: { code, message: `${title}: ${detail}`, invocation_id: invocationId } },
      { status, headers },
    );
  }
  headers.set("content-type", "text/plain; charset=utf-8");
  const id = invocationId ? `, invocation ${invocationId}` : "";
  return new Response(`${status} ${title}: ${detail} (error ${code}${id})\n`, { status, headers });
}
