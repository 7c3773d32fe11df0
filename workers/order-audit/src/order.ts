import * as z from "zod/mini";

/** An order as the API answers it. */
export interface Order {
  id: string;
  customer: string;
  status: "open" | "paid" | "shipped" | "cancelled";
  created_at: string;
  items: Item[];
}

const Item = z.strictObject({
  product: z.string().check(z.minLength(1), z.maxLength(100)),
  quantity: z.int().check(z.positive()),
  price_cents: z.int().check(z.nonnegative()),
});
export type Item = z.infer<typeof Item>;

/** Body of what is to be in an order. */
export const Items = z.array(Item).check(
  z.minLength(1),
  z.maxLength(50),
  z.refine((items) => new Set(items.map(({ product }) => product)).size === items.length, {
    error: "must have each product once",
  }),
);

/** Body of a new order. */
export const NewOrder = z.strictObject({
  customer: z.string().check(z.minLength(1), z.maxLength(100)),
  items: Items,
});
export type NewOrder = z.infer<typeof NewOrder>;
