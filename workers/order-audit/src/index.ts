import { Hono, type Context } from "hono";
import type * as z from "zod/mini";
import { history, record, type DatabaseChange } from "./audit.ts";
import type { Env } from "./env.ts";
import { Items, NewOrder } from "./order.ts";
import { advance, createOrder, findOrder, replaceItems, STEPS } from "./store.ts";

type Ctx = Context<{ Bindings: Env }>;

/** An answer that is not a success. */
class Problem extends Error {
  override name = "Problem";
  readonly status: 404 | 409 | 422;

  constructor(status: Problem["status"], message: string) {
    super(message);
    this.status = status;
  }
}

const app = new Hono<{ Bindings: Env }>();

app.post("/orders", async (c) => {
  const id = await createOrder(c.env.ORDERS, await parseBody(c, NewOrder));
  return c.json(await findOrder(c.env.ORDERS, id), 201, { location: `/orders/${id}` });
});

app.get("/orders/:id", answerOrder);

app.put("/orders/:id/items", async (c) => {
  const items = await parseBody(c, Items);
  const order = await findOrder(c.env.ORDERS, c.req.param("id"));
  if (order && order.status !== "open") {
    throw new Problem(409, `order ${order.id}: is ${order.status}, must be open`);
  }
  await replaceItems(c.env.ORDERS, c.req.param("id"), items);
  return answerOrder(c);
});

for (const step of Object.keys(STEPS) as (keyof typeof STEPS)[]) {
  app.post(`/orders/:id/${step}`, async (c) => {
    const id = c.req.param("id");
    if (!(await advance(c.env.ORDERS, id, step))) {
      const order = await findOrder(c.env.ORDERS, id);
      const allowed = STEPS[step].from.join(" or ");
      if (order) throw new Problem(409, `order ${id}: is ${order.status}, must be ${allowed}`);
    }
    return answerOrder(c);
  });
}

// Also of orders that are gone: the log outlives them.
app.get("/orders/:id/audit", async (c) =>
  c.json({ entries: await history(c.env.AUDIT, c.req.param("id")) }),
);

app.notFound((c) => c.json({ error: `${c.req.method} ${c.req.path}: unknown` }, 404));
app.onError((error, c) => {
  if (error instanceof Problem) return c.json({ error: error.message }, error.status);
  throw error;
});

async function answerOrder(c: Ctx): Promise<Response> {
  const id = c.req.param("id") ?? "";
  const order = await findOrder(c.env.ORDERS, id);
  if (!order) throw new Problem(404, `order ${id}: unknown`);
  return c.json(order);
}

async function parseBody<T>(c: Ctx, schema: z.ZodMiniType<T>): Promise<T> {
  const { success, data, error } = schema.safeParse(await c.req.json().catch(() => undefined));
  if (success) return data;
  const [issue] = error.issues;
  throw new Problem(422, `${issue?.path.join(".") || "body"}: ${issue?.message}`);
}

export default {
  fetch: app.fetch,
  queue: (batch, env) => record(env.AUDIT, batch.messages),
} satisfies ExportedHandler<Env, DatabaseChange>;
