import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { succeeds } from "./harness/expect-command.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { until } from "./harness/processes.ts";
import { fetchWorker } from "./harness/worker-fetch.ts";

interface Order {
  id: string;
  status: string;
  items: { product: string; quantity: number; price_cents: number }[];
}
interface Entry {
  sequence: number;
  at: string;
  table: string;
  operation: string;
  changes: Record<string, [unknown, unknown]>;
}

// Longer than the queue waits until it delivers again what could not be written.
const AUDITED_WITHIN_MS = 15_000;

const cwd = join(import.meta.dirname, "../workers/order-audit");
const BOOK = { product: "book", quantity: 1, price_cents: 2_000 };
const PEN = { product: "pen", quantity: 3, price_cents: 150 };

let platform: Platform;
let address: string;

const wrangler = (...args: string[]): Promise<string> => succeeds(platform.wrangler(args, { cwd }));

const execute = (database: string, sql: string): Promise<string> =>
  wrangler("d1", "execute", database, "--remote", "-y", "--command", sql);

beforeAll(async () => {
  platform = await startPlatform();
  await wrangler("queues", "create", "order-changes");
  // wrangler prints addresses without port.
  const host = /^ +(order-audit\.\S+)$/m.exec(await wrangler("deploy"))?.[1];
  expect(host).toBeDefined();
  address = `http://${host}:${platform.port}`;
  await wrangler("d1", "migrations", "apply", "ORDERS", "--remote");
  await wrangler("d1", "migrations", "apply", "AUDIT", "--remote");
});
afterAll(() => platform.stop());

async function call<T>(method: string, path: string, body?: unknown): Promise<[number, T]> {
  const response = await fetchWorker(new URL(path, address), {
    method,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return [response.status, (await response.json()) as T];
}

async function create(items = [BOOK, PEN]): Promise<Order> {
  const [status, order] = await call<Order>("POST", "/orders", { customer: "Ada", items });
  expect(status).toBe(201);
  return order;
}

/** The order's log when it has so many entries; fails if it gets no more or more. */
async function audit(id: string, count: number): Promise<Entry[]> {
  let entries: Entry[] = [];
  await until(async () => {
    entries = (await call<{ entries: Entry[] }>("GET", `/orders/${id}/audit`))[1].entries;
    return entries.length >= count;
  }, AUDITED_WITHIN_MS);
  expect(entries).toHaveLength(count);
  return entries;
}

const brief = (entries: Entry[]): unknown[] =>
  entries.map(({ table, operation, changes }) => [table, operation, changes]);

test("everything that happens to an order is in its log, in order and with its time", async () => {
  const before = Date.now();
  const { id } = await create();
  const [, changed] = await call<Order>("PUT", `/orders/${id}/items`, [
    { ...BOOK, quantity: 2 },
    { ...PEN, product: "ink" },
  ]);
  expect(changed.items.map(({ product, quantity }) => [product, quantity])).toEqual([
    ["book", 2],
    ["ink", 3],
  ]);
  await call("POST", `/orders/${id}/pay`);
  const [, cancelled] = await call<Order>("POST", `/orders/${id}/cancel`);
  expect(cancelled).toMatchObject({ status: "cancelled", items: [] });

  const entries = await audit(id, 10);
  const inserted = ({ product, quantity, price_cents }: typeof BOOK): unknown => [
    "order_items",
    "insert",
    {
      order_id: [null, id],
      product: [null, product],
      quantity: [null, quantity],
      price_cents: [null, price_cents],
    },
  ];
  expect(brief(entries).slice(0, 7)).toEqual([
    ["orders", "insert", expect.objectContaining({ id: [null, id], status: [null, "open"] })],
    inserted(BOOK),
    inserted(PEN),
    ["order_items", "delete", expect.objectContaining({ product: ["pen", null] })],
    ["order_items", "update", { quantity: [1, 2] }],
    inserted({ ...PEN, product: "ink" }),
    ["orders", "update", { status: ["open", "paid"] }],
  ]);
  expect(brief(entries).slice(7)).toEqual([
    ["orders", "update", { status: ["paid", "cancelled"] }],
    ["order_items", "delete", expect.objectContaining({ product: ["book", null] })],
    ["order_items", "delete", expect.objectContaining({ product: ["ink", null] })],
  ]);
  for (const { at } of entries) expect(Date.parse(at)).toBeGreaterThanOrEqual(before - 5);
});

test("what was not done is not in the log", async () => {
  const { id } = await create([BOOK]);
  expect((await call("POST", `/orders/${id}/ship`))[0]).toBe(409);
  await call("PUT", `/orders/${id}/items`, [BOOK]);
  await call("POST", `/orders/${id}/pay`);
  expect((await call("PUT", `/orders/${id}/items`, [PEN]))[0]).toBe(409);
  expect((await call("POST", "/orders", { customer: "Ada", items: [] }))[0]).toBe(422);
  expect((await call("GET", "/orders/nope"))[0]).toBe(404);
  const entries = await audit(id, 3);
  expect(brief(entries).at(-1)).toEqual(["orders", "update", { status: ["open", "paid"] }]);
});

test("the log has also what was done past the worker, and outlives the order", async () => {
  const { id } = await create([BOOK]);
  await execute("ORDERS", `DELETE FROM orders WHERE id = '${id}'`);
  expect((await call("GET", `/orders/${id}`))[0]).toBe(404);
  const gone = brief(await audit(id, 4)).slice(2);
  expect(gone).toEqual(
    expect.arrayContaining([
      ["orders", "delete", expect.objectContaining({ status: ["open", null] })],
      ["order_items", "delete", expect.objectContaining({ product: ["book", null] })],
    ]),
  );
});

test("what happens while the log cannot be written is in it later", async () => {
  await execute("AUDIT", "ALTER TABLE audit RENAME TO away");
  const { id } = await create([BOOK]);
  await until(() => platform.output().includes("no such table: audit"), AUDITED_WITHIN_MS);
  await call("POST", `/orders/${id}/pay`);
  await execute("AUDIT", "ALTER TABLE away RENAME TO audit");
  const entries = await audit(id, 3);
  expect(entries.map(({ operation }) => operation)).toEqual(["insert", "insert", "update"]);
});
