import type { MiddlewareHandler } from "hono";
import type { ControlEnv } from "./app.ts";

/** More than this is not read for an answer that did not need it; the largest upload is smaller. */
const MAX_DRAINED_BYTES = 100 * 1024 * 1024;

/**
 * Reads what is left of the request's body after an answer that came without it, such as a 401. A
 * server that closes a connection on which the client still writes takes the answer along.
 */
export const drain: MiddlewareHandler<ControlEnv> = async (c, next) => {
  await next();
  const { body, bodyUsed } = c.req.raw;
  if (!body || bodyUsed || body.locked) return;
  const reader = body.getReader();
  try {
    let drained = 0;
    while (drained < MAX_DRAINED_BYTES) {
      const { done, value } = await reader.read();
      if (done) return;
      drained += value.byteLength;
    }
  } catch {
    // The client is gone, and with it whoever wanted the answer.
  }
};
