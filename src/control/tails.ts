import { Hono, type Context } from "hono";
import * as z from "zod";
import { sign, verify } from "../catalog/crypto.ts";
import { tailFilters } from "../observe/tail/filters.ts";
import { MAX_SESSIONS, type TailSession } from "../observe/tail/object.ts";
import { tailsOf } from "../observe/tail/tails-of.ts";
import type { ControlEnv } from "./app.ts";
import { parse, parseJson } from "./body.ts";
import { success } from "./envelope.ts";
import { ApiError } from "./error.ts";
import { scriptOf } from "./script.ts";

const FIELD_INVALID = 10001;
const TOO_MANY_SESSIONS = 10057;
/** How long a session lasts at most, in seconds. */
const MAX_LIFETIME = 6 * 60 * 60;

const newTail = z.strictObject({
  filters: tailFilters.default([]),
  /** Mayfly's own: seconds until the session ends by itself. */
  expires_in: z.int().min(1).max(MAX_LIFETIME).default(MAX_LIFETIME),
});

/**
 * Sessions of `wrangler tail`:
 * https://developers.cloudflare.com/api/resources/workers/subresources/scripts/subresources/tail/
 */
export const tails = new Hono<ControlEnv>();

tails.post("/workers/scripts/:script_name/tails", async (c) => {
  const { id: scriptId } = await scriptOf(c);
  const text = await c.req.text();
  const body = text === "" ? {} : parseJson(text, FIELD_INVALID, "body");
  const { filters, expires_in } = parse(newTail, body ?? {}, FIELD_INVALID, "body");
  const self = c.req.header("cf-connecting-ip") ?? "";
  const own = filters.map(({ client_ip, ...filter }) => ({
    ...filter,
    ...(client_ip && { client_ip: client_ip.map((ip) => (ip === "self" ? self : ip)) }),
  }));
  const session = await tailsOf(c.env, scriptId).open(scriptId, own, expires_in * 1_000);
  // It was deleted in this moment: says so.
  if (!session) return success(await scriptOf(c));
  if (session === "too many") {
    throw new ApiError(
      429,
      TOO_MANY_SESSIONS,
      `This Worker has ${MAX_SESSIONS} tails already, which is the most; end one of them`,
    );
  }
  return success(await toResult(c, scriptId, session));
});

tails.get("/workers/scripts/:script_name/tails", async (c) => {
  const { id: scriptId } = await scriptOf(c);
  const sessions = await tailsOf(c.env, scriptId).list();
  return success(await Promise.all(sessions.map((session) => toResult(c, scriptId, session))));
});

tails.delete("/workers/scripts/:script_name/tails/:id", async (c) => {
  const { id: scriptId } = await scriptOf(c);
  const id = c.req.param("id");
  if (!(await tailsOf(c.env, scriptId).close(id))) {
    throw new ApiError(404, 10007, `This Worker has no such tail: "${id}"`);
  }
  return success(null);
});

async function toResult(
  c: Context<ControlEnv>,
  scriptId: string,
  { id, expiresAt, connected }: TailSession,
): Promise<object> {
  const url = new URL(`/client/v4/tails/${scriptId}/${id}`, c.req.url);
  const scheme = c.req.header("x-forwarded-proto") ?? url.protocol.replace(":", "");
  url.protocol = scheme === "https" ? "wss" : "ws";
  url.searchParams.set("signature", await sign(c.env.MAYFLY_SECRETS_KEY, signedText(scriptId, id)));
  // Whether anybody is connected is told by Mayfly alone.
  return { id, url: url.href, expires_at: new Date(expiresAt).toISOString(), connected };
}

// The first word keeps a signature from being one of something else that is signed with the key.
const signedText = (scriptId: string, id: string): string => ["tail", scriptId, id].join("\n");

/** Where sessions are connected to. wrangler sends no token: whoever has the URL may see this session. */
export const tailSockets = new Hono<ControlEnv>();

tailSockets.get("/:script_id/:id", async (c) => {
  const { script_id: scriptId, id } = c.req.param();
  const { signature = "" } = c.req.query();
  if (!(await verify(c.env.MAYFLY_SECRETS_KEY, signedText(scriptId, id), signature))) {
    throw new ApiError(403, 10000, "signature: not valid for this tail");
  }
  if (c.req.header("upgrade")?.toLowerCase() !== "websocket") {
    throw new ApiError(426, FIELD_INVALID, "upgrade: missing, must be websocket");
  }
  const response = await tailsOf(c.env, scriptId).fetch(`https://tails/${id}`, {
    headers: c.req.raw.headers,
  });
  if (!response.webSocket) throw new ApiError(404, 10007, "The tail has ended");
  return response;
});
