import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { cors } from "hono/cors";
import { parseBody } from "./body.ts";
import { dropCached, getCached, putCached } from "./cache.ts";
import type { Env } from "./env.ts";
import { noneMatches, parseIfMatch, toEtag } from "./etag.ts";
import { parseCursor, parseLimit, toCursor } from "./page.ts";
import { Problem } from "./problem.ts";
import { createUser, deleteUser, findUser, listUsers, updateUser } from "./store.ts";
import { NewUser, UserChange } from "./user.ts";

const MAX_BODY_BYTES = 64 * 1024;

const app = new Hono<{ Bindings: Env }>();

app.use(
  cors({
    origin: (origin, { env }) => {
      const allowed: string[] = env.ALLOWED_ORIGINS.split(",").map((item: string) => item.trim());
      if (allowed.includes("*")) return "*";
      return allowed.includes(origin) ? origin : null;
    },
    allowMethods: ["GET", "POST", "PATCH", "DELETE"],
    allowHeaders: ["content-type", "if-match", "if-none-match"],
    exposeHeaders: ["etag", "location", "x-cache"],
    maxAge: 600,
  }),
);
app.use(
  bodyLimit({
    maxSize: MAX_BODY_BYTES,
    onError: () => {
      throw new Problem(413, "body_too_large", `body: must be at most ${MAX_BODY_BYTES} bytes`);
    },
  }),
);

app.post("/users", async (c) => {
  const user = await createUser(c.env.DB, await parseBody(c.req, NewUser));
  return c.json(user, 201, { location: `/users/${user.id}`, etag: toEtag(user) });
});

app.get("/users", async (c) => {
  const limit = parseLimit(c.req.query("limit"));
  // One more than asked for tells whether there is another page.
  const found = await listUsers(c.env.DB, parseCursor(c.req.query("cursor")), limit + 1);
  const users = found.slice(0, limit);
  const last = users.at(-1);
  const next_cursor =
    last && found.length > limit ? toCursor({ createdAt: last.created_at, id: last.id }) : null;
  return c.json({ users, next_cursor });
});

app.get("/users/:id", async (c) => {
  const id = c.req.param("id");
  const cached = await getCached(c.env.CACHE, id);
  const user = cached ?? (await findUser(c.env.DB, id));
  if (!user) throw new Problem(404, "not_found", `user ${id}: unknown`);
  if (!cached) await putCached(c.env.CACHE, user);

  const headers = { etag: toEtag(user), "x-cache": cached ? "hit" : "miss" };
  if (noneMatches(c.req.header("if-none-match"), headers.etag)) return c.body(null, 304, headers);
  return c.json(user, 200, headers);
});

app.patch("/users/:id", async (c) => {
  const id = c.req.param("id");
  const version = parseIfMatch(c.req.header("if-match"));
  const change = await parseBody(c.req, UserChange);
  const user = await updateUser(c.env.DB, id, change, version);
  await dropCached(c.env.CACHE, id);
  return c.json(user, 200, { etag: toEtag(user) });
});

app.delete("/users/:id", async (c) => {
  const id = c.req.param("id");
  await deleteUser(c.env.DB, id, parseIfMatch(c.req.header("if-match")));
  await dropCached(c.env.CACHE, id);
  return c.body(null, 204);
});

app.notFound((c) => {
  const message = `No route for ${c.req.method} ${c.req.path}`;
  return c.json({ error: { code: "not_found", message } }, 404);
});

app.onError((error, c) => {
  if (error instanceof Problem) {
    const { code, message, fields } = error;
    return c.json({ error: { code, message, fields } }, error.status);
  }
  console.error(error);
  return c.json({ error: { code: "internal", message: "Internal error; the log says more" } }, 500);
});

export default app;
