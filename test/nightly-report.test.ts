import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { callApi, type Answer } from "./harness/api.ts";
import { cronRuns, type CronRun } from "./harness/cron.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { until } from "./harness/processes.ts";
import { fetchWorker } from "./harness/worker-fetch.ts";

const cwd = join(import.meta.dirname, "../workers/nightly-report");
const EVERY_MINUTE = "* * * * *";
const NIGHTLY = "15 2 * * *";

let platform: Platform;
let address: string;

beforeAll(async () => {
  platform = await startPlatform();
  const stdout = await wrangler("deploy");
  const host = /^ +(nightly-report\.\S+)$/m.exec(stdout)?.[1];
  expect(host, stdout).toBeDefined();
  expect(stdout).toContain(`schedule: ${NIGHTLY}`);
  address = `http://${host}:${platform.port}`;
  await wrangler("d1", "migrations", "apply", "DB", "--remote");
});
afterAll(() => platform?.stop());

async function wrangler(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await platform.wrangler(args, { cwd });
  expect(code, stdout + stderr).toBe(0);
  return stdout;
}

const get = (path: string): Promise<Response> => fetchWorker(new URL(path, address));

interface Order {
  placed_at: string;
  product: string;
  quantity: number;
  currency: string;
  amount: number;
}

const text = (value: string): string => `'${value.replaceAll("'", "''")}'`;

async function addOrders(...orders: Order[]): Promise<void> {
  const rows = orders.map(
    ({ placed_at, product, quantity, currency, amount }) =>
      `(${[crypto.randomUUID(), placed_at, product].map(text).join()}, ${quantity}, ${text(currency)}, ${amount})`,
  );
  const command = `INSERT INTO orders (id, placed_at, product, quantity, currency, amount) VALUES ${rows.join()}`;
  await wrangler("d1", "execute", "DB", "--remote", "--command", command);
}

/** Runs the nightly cron as of a slot and gives the run when it is over. */
async function runAt(slot: string): Promise<CronRun> {
  const scheduled_time = Date.parse(slot);
  const run = (): Promise<Answer> =>
    callApi(platform, "POST", `/accounts/${platform.accountId}/mayfly/cron-runs`, {
      script_name: "nightly-report",
      cron: NIGHTLY,
      scheduled_time,
    });
  expect((await run()).status).toBe(200);
  let ended: CronRun | undefined;
  await until(async () => {
    const runs = await cronRuns(platform, "nightly-report");
    ended = runs.find((run) => run.scheduled_time === scheduled_time && run.ended_at !== null);
    return ended !== undefined;
  }, 10_000);
  return ended as CronRun;
}

it("has no report before the first night", async () => {
  const response = await get("/");
  expect([response.status, await response.text()]).toEqual([404, "There is no report yet\n"]);
  // A night is long: the slot that the last test waits for is that of a minute.
  await wrangler("triggers", "deploy", "--triggers", EVERY_MINUTE, NIGHTLY);
});

it("reports on the day before its slot, from midnight to midnight in UTC", async () => {
  const mug = { product: "Mug", currency: "EUR" };
  await addOrders(
    { ...mug, placed_at: "2025-03-09T23:59:59.999Z", quantity: 1, amount: 1 },
    { ...mug, placed_at: "2025-03-10T00:00:00.000Z", quantity: 2, amount: 1998 },
    { ...mug, placed_at: "2025-03-10T23:59:59.999Z", quantity: 1, amount: 999 },
    { ...mug, placed_at: "2025-03-11T00:00:00.000Z", quantity: 1, amount: 1 },
    {
      placed_at: "2025-03-10T12:00:00.000Z",
      product: 'Tea, "Sencha"',
      quantity: 3,
      currency: "JPY",
      amount: 4500,
    },
    {
      placed_at: "2025-03-10T12:00:00.000Z",
      product: "<b>=1+1</b>",
      quantity: 1,
      currency: "EUR",
      amount: 5000,
    },
    {
      placed_at: "2025-03-10T13:00:00.000Z",
      product: "=1+1",
      quantity: 1,
      currency: "EUR",
      amount: 100,
    },
  );
  expect(await runAt("2025-03-11T02:15Z")).toMatchObject({ outcome: "ok", tries: 1 });

  const csv = await get("/reports/2025-03-10.csv");
  expect(csv.headers.get("content-type")).toBe("text/csv; charset=utf-8");
  expect((await csv.text()).split("\r\n")).toEqual([
    "product,currency,orders,quantity,amount",
    "<b>=1+1</b>,EUR,1,1,50.00",
    "Mug,EUR,2,3,29.97",
    "'=1+1,EUR,1,1,1.00",
    '"Tea, ""Sencha""",JPY,1,3,4500',
    "",
  ]);
  const html = await get("/reports/2025-03-10.html");
  expect(html.headers.get("content-type")).toBe("text/html; charset=utf-8");
  const page = await html.text();
  expect(page).toContain("<h1>Sales on 2025-03-10</h1>");
  expect(page).toContain("5 orders: 80.97 EUR, 4500 JPY");
  expect(page).not.toContain("<b>");
});

it("keeps the report of a slot that is run again", async () => {
  await runAt("2025-04-02T02:15Z");
  const first = await get("/reports/2025-04-01.html");
  expect(await first.text()).toContain("No orders");
  const order = { product: "Late", quantity: 1, currency: "EUR", amount: 100 };
  await addOrders({ ...order, placed_at: "2025-04-01T12:00:00.000Z" });
  expect(await runAt("2025-04-02T02:15Z")).toMatchObject({ outcome: "ok" });
  const second = await get("/reports/2025-04-01.html");
  expect(second.headers.get("etag")).toBe(first.headers.get("etag"));
});

it("keeps reports where wrangler can get them", async () => {
  await runAt("2025-05-02T02:15Z");
  const key = "nightly-reports/reports/2025-05-01.csv";
  const stdout = await wrangler("r2", "object", "get", key, "--remote", "--pipe");
  expect(stdout).toContain("product,currency,orders,quantity,amount");
});

it("answers other paths and methods with what is wrong", async () => {
  for (const path of ["/reports/2025-03-12.csv", "/reports/2025-03-10.pdf", "/reports/x", "/x"]) {
    expect((await get(path)).status).toBe(404);
  }
  const response = await fetchWorker(new URL("/", address), { method: "POST" });
  expect(response.status).toBe(405);
});

it("writes the report when the slot comes, and leads to the latest", async () => {
  await until(async () => {
    const runs = await cronRuns(platform, "nightly-report");
    return runs.some(({ cron, outcome }) => cron === EVERY_MINUTE && outcome === "ok");
  }, 70_000);
  const run = (await cronRuns(platform, "nightly-report")).find(
    ({ cron }) => cron === EVERY_MINUTE,
  );
  const yesterday = new Date((run?.scheduled_time ?? 0) - 86_400_000).toISOString().slice(0, 10);
  const response = await get("/");
  expect(response.status).toBe(302);
  expect(new URL(response.headers.get("location") ?? "").pathname).toBe(
    `/reports/${yesterday}.html`,
  );
  expect(await (await get(`/reports/${yesterday}.html`)).text()).toContain(`Sales on ${yesterday}`);
  const { days } = (await (await get("/reports")).json()) as { days: string[] };
  expect(days).toEqual(expect.arrayContaining(["2025-03-10", "2025-04-01", yesterday]));
  expect(days).toEqual([...days].sort());
}, 80_000);
