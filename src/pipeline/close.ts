import type { Env } from "../env.ts";
import { passOnAllLines, poolSizes, recordRunning } from "../isolates/pool.ts";
import { publishUntil } from "../observe/publish-later.ts";
import { allSpansSent, sendSpans } from "../observe/traces/send.ts";
import { returnBeforeEnd } from "../usage/budgets/spend.ts";
import { allReported, report } from "../usage/report.ts";
import { isAnyUnanswered } from "./wall-time.ts";

const LOOK_EVERY_MS = 20;
/** What goes on behind responses has so long once none is waited for. */
const BACKGROUND_MS = 2_000;
/** State may be away. */
const REPORT_WITHIN_MS = 5_000;

export const CLOSE_PATH = "/_mayfly/close";
/** Carries what only the supervisor knows. */
const MARK_HEADER = "mayfly-close";

/** Whether the supervisor says that this process is about to be told to end: see `src/host/closing.ts`. */
export const isClose = (request: Request, { MAYFLY_FLIGHT_MARK: mark }: Env): boolean =>
  Boolean(mark) && request.headers.get(MARK_HEADER) === mark;

/**
 * Once it has been told to, the runtime ends with the last answer, whatever is to be done behind it. So this is
 * the last one: it begins at once, and ends when what was in flight is over and all of it has been reported. The
 * request's body ends when the process has been told.
 */
export async function close(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
  const { readable, writable } = new IdentityTransformStream();
  ctx.waitUntil(
    finish(request, env, ctx)
      .catch(() => undefined)
      .then(() => writable.close())
      .catch(() => undefined),
  );
  return new Response(readable);
}

async function finish(request: Request, env: Env, ctx: ExecutionContext): Promise<void> {
  await request.arrayBuffer();
  let answeredAt = Date.now();
  // Requests may be on their way in.
  do {
    await scheduler.wait(LOOK_EVERY_MS);
    if (isAnyUnanswered()) answeredAt = Date.now();
  } while (poolSizes().inFlight > 0 && Date.now() - answeredAt < BACKGROUND_MS);
  await passOnAllLines(env, ctx);
  recordRunning(env, ctx);
  publishUntil(Date.now(), env, ctx);
  const deadline = Date.now() + REPORT_WITHIN_MS;
  do await Promise.all([report(env, ctx), sendSpans(env, ctx)]);
  while (!(allReported() && allSpansSent()) && Date.now() < deadline);
  await Promise.race([
    returnBeforeEnd(env, ctx),
    scheduler.wait(Math.max(deadline - Date.now(), 0)),
  ]);
}
