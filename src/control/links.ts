import { Hono, type Context } from "hono";
import { sign, verify } from "../catalog/crypto.ts";
import type { Env } from "../env.ts";
import type { ControlEnv } from "./app.ts";
import { ApiError } from "./error.ts";

/** How long a link works. */
export const LINK_LIFETIME_MS = 60 * 60 * 1000;

/**
 * A link that needs no token: whoever has it may, for an hour, do what the method says with this
 * object of the platform's bucket and nothing else. Its scheme and host are those that were asked for it.
 */
export async function createLink(
  c: Context<ControlEnv>,
  method: "GET" | "PUT",
  key: string,
): Promise<string> {
  const expires = String(Date.now() + LINK_LIFETIME_MS);
  const link = new URL(`/client/v4/links/${key}`, c.req.url);
  link.protocol = c.req.header("x-forwarded-proto") ?? link.protocol;
  link.searchParams.set("expires", expires);
  link.searchParams.set("signature", await signLink(c.env, method, key, expires));
  return link.href;
}

// The first word keeps a signature from being one of something else that is signed with the key.
const signedText = (method: string, key: string, expires: string): string =>
  ["link", method, key, expires].join("\n");

const signLink = (env: Env, method: string, key: string, expires: string): Promise<string> =>
  sign(env.MAYFLY_SECRETS_KEY, signedText(method, key, expires));

async function checkLink(c: Context<ControlEnv>, key: string): Promise<void> {
  const { expires = "", signature = "" } = c.req.query();
  const text = signedText(c.req.method, key, expires);
  if (!(await verify(c.env.MAYFLY_SECRETS_KEY, text, signature))) {
    throw new ApiError(403, 10000, `signature: not valid for ${c.req.method} of this link`);
  }
  if (Number(expires) < Date.now()) {
    throw new ApiError(403, 10000, "expires: the link was valid for an hour, which is over");
  }
}

export const links = new Hono<ControlEnv>();

links.put("/:key{.+}", async (c) => {
  const key = c.req.param("key");
  await checkLink(c, key);
  if (c.req.header("content-length") === undefined) {
    throw new ApiError(411, 10001, "content-length: missing, must be the length of the body");
  }
  const object = await c.env.BUCKET.put(key, c.req.raw.body ?? "", {
    httpMetadata: { contentType: "application/sql; charset=utf-8" },
  });
  // The entity tag of an object that was put whole is the MD5 of its bytes.
  return c.body(null, 200, { etag: object.httpEtag });
});

/** Gives the object and removes it once all of it has been fetched. */
links.get("/:key{.+}", async (c) => {
  const key = c.req.param("key");
  await checkLink(c, key);
  const object = await c.env.BUCKET.get(key);
  if (!object) throw new ApiError(404, 10007, "The link has been used, or nothing is behind it");
  const { readable, writable } = new FixedLengthStream(object.size);
  c.executionCtx.waitUntil(
    object.body.pipeTo(writable).then(
      () => c.env.BUCKET.delete(key),
      () => undefined, // The client is gone; it may try again.
    ),
  );
  return c.body(readable, 200, {
    "content-type": "application/sql; charset=utf-8",
    "content-disposition": `attachment; filename="${key.slice(key.lastIndexOf("/") + 1)}"`,
    etag: object.httpEtag,
  });
});
