import type { Item, NewOrder, Order } from "./order.ts";

/** The order with its items, or undefined. */
export async function findOrder(db: D1Database, id: string): Promise<Order | undefined> {
  const [orders, items] = await db.batch([
    db.prepare("SELECT * FROM orders WHERE id = ?").bind(id),
    db
      .prepare("SELECT product, quantity, price_cents FROM order_items WHERE order_id = ?")
      .bind(id),
  ]);
  const [order] = (orders?.results ?? []) as Omit<Order, "items">[];
  return order && { ...order, items: (items?.results ?? []) as Item[] };
}

/** Makes the order and its items, all or nothing; its id. */
export async function createOrder(db: D1Database, { customer, items }: NewOrder): Promise<string> {
  const id = crypto.randomUUID();
  await db.batch([
    db
      .prepare("INSERT INTO orders (id, customer, created_at) VALUES (?, ?, ?)")
      .bind(id, customer, new Date().toISOString()),
    ...putItems(db, id, items),
  ]);
  return id;
}

/** Has these items in the order and no others if it is open. */
export async function replaceItems(db: D1Database, id: string, items: Item[]): Promise<void> {
  await db.batch(putItems(db, id, items));
}

/** What can happen to an order: the states in which it can, and the state after it. */
export const STEPS = {
  pay: { from: ["open"], to: "paid" },
  ship: { from: ["paid"], to: "shipped" },
  cancel: { from: ["open", "paid"], to: "cancelled" },
} as const;

/** Whether the order was in a state in which that could happen. A cancelled one loses its items. */
export async function advance(
  db: D1Database,
  id: string,
  step: keyof typeof STEPS,
): Promise<boolean> {
  const { from, to } = STEPS[step];
  const [updated] = await db.batch([
    db
      .prepare(
        "UPDATE orders SET status = ? WHERE id = ? AND status IN (SELECT value FROM json_each(?))",
      )
      .bind(to, id, JSON.stringify(from)),
    db
      .prepare(
        "DELETE FROM order_items WHERE order_id IN (SELECT id FROM orders WHERE id = ? AND status = 'cancelled')",
      )
      .bind(id),
  ]);
  return updated?.meta.changes === 1;
}

const IS_OPEN = "EXISTS (SELECT 1 FROM orders WHERE id = ?1 AND status = 'open')";

function putItems(db: D1Database, orderId: string, items: Item[]): D1PreparedStatement[] {
  const json = JSON.stringify(items);
  return [
    db
      .prepare(
        `DELETE FROM order_items WHERE order_id = ?1 AND ${IS_OPEN}
          AND product NOT IN (SELECT value ->> 'product' FROM json_each(?2))`,
      )
      .bind(orderId, json),
    // An item that stays as it is must not count as changed.
    db
      .prepare(
        `INSERT INTO order_items (order_id, product, quantity, price_cents)
        SELECT ?1, value ->> 'product', value ->> 'quantity', value ->> 'price_cents'
        FROM json_each(?2) WHERE ${IS_OPEN}
        ON CONFLICT DO UPDATE SET quantity = excluded.quantity, price_cents = excluded.price_cents
        WHERE quantity <> excluded.quantity OR price_cents <> excluded.price_cents`,
      )
      .bind(orderId, json),
  ];
}
