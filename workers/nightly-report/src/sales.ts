import { boundsOf, type Day } from "./day.ts";

/** What was sold of a product on one day in one currency. */
export interface Sales {
  product: string;
  /** ISO 4217. */
  currency: string;
  orders: number;
  quantity: number;
  /** In the currency's smallest unit. */
  amount: number;
}

/** The day's sales, by currency; the largest amounts first. */
export async function listSales(db: D1Database, day: Day): Promise<Sales[]> {
  const { from, to } = boundsOf(day);
  const { results } = await db
    .prepare(
      `SELECT product, currency, count(*) AS orders, sum(quantity) AS quantity, sum(amount) AS amount
       FROM orders WHERE placed_at >= ? AND placed_at < ?
       GROUP BY currency, product ORDER BY currency, amount DESC, product`,
    )
    .bind(from, to)
    .all<Sales>();
  return results;
}
