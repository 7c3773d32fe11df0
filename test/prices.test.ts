import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { toBill, type Bill, type BillOptions, type MonthUsage } from "../src/usage/prices/bill.ts";
import {
  cost,
  multiply,
  parseDecimal,
  toCents,
  toFixed,
  whole,
} from "../src/usage/prices/money.ts";
import { parseMonth, type Month } from "../src/usage/prices/month.ts";
import { priceSheets } from "../src/usage/prices/sheets.ts";
import type { UsageRow } from "../src/usage/rows.ts";
import { byteMonthsOf, type Held } from "../src/usage/storage/byte-months.ts";
import { callApi, type Answer } from "./harness/api.ts";
import { callWorker } from "./harness/call-worker.ts";
import { createNamespace } from "./harness/cron.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { until } from "./harness/processes.ts";
import { account, createQueue } from "./harness/queue.ts";
import { upload } from "./harness/upload.ts";

const M = 1_000_000;

interface Used {
  trigger?: string;
  invocations?: number;
  wallMs?: number;
  cpuMs?: number;
  responseBytes?: number;
  operations?: Record<string, number>;
  storage?: MonthUsage["storage"];
}

/** A month in which every invocation took as long as the others. */
function month(used: Used): MonthUsage {
  const { trigger = "fetch", invocations = 0, wallMs = 0, cpuMs = 0, responseBytes = 0 } = used;
  const row = {
    trigger,
    invocations,
    wall_time_ms: invocations * wallMs,
    cpu_time_ms: invocations * cpuMs,
    response_bytes: responseBytes,
    operations: used.operations ?? {},
  };
  return {
    rows: [row],
    days: [{ ...row, day: "2026-11-03T00:00:00.000Z" }],
    storage: used.storage ?? {},
  };
}

function billFor(planId: string, usage: MonthUsage, options?: BillOptions): Bill {
  for (const sheet of priceSheets().sheets) {
    const plan = sheet.plans.find(({ id }) => id === planId);
    if (plan) return toBill(sheet, plan, usage, options);
  }
  throw new Error(`no plan ${planId}`);
}

const cents = (usd: string): string => toCents(cost(whole(1), parseDecimal(usd)));

/** What costs anything, in dollars and cents, and all of it. */
function inCents({ lines, usd }: Bill): Record<string, string> {
  const costly = lines.filter((line) => Number(line.usd) > 0);
  return {
    ...Object.fromEntries(costly.map((line) => [line.name, cents(line.usd)])),
    total: cents(usd),
  };
}

const lambda = (used: Used, options?: BillOptions): Record<string, string> =>
  inCents(billFor("aws-lambda-function-url", month(used), options));
const gateway = (planId: string, millions: number, trigger = "fetch"): string | undefined =>
  billFor(planId, month({ trigger, invocations: millions * M })).lines[0]?.usd;
const paid = (used: Used): Record<string, string> =>
  inCents(billFor("cloudflare-workers-paid", month(used)));
const free = (used: Used): Bill => billFor("cloudflare-workers-free", month(used));

describe("AWS Lambda bills", () => {
  test("as its page's example of a mobile backend: 3 million requests of 120 ms at 1536 MB", () => {
    expect(lambda({ invocations: 3 * M, wallMs: 120 }, { memoryMb: 1536 })).toEqual({
      "Lambda requests": "0.40",
      "Lambda duration": "2.33",
      total: "2.73",
    });
  });

  test("as its page's example of telemetry: 7.44 million of 2 s at 1024 MB, without the free tier", () => {
    const used = { trigger: "queue", invocations: 7.44 * M, wallMs: 2000 };
    expect(lambda(used, { memoryMb: 1024, freeTier: false })).toEqual({
      "Lambda requests": "1.49",
      "Lambda duration": "248.00",
      total: "249.49",
    });
  });

  test("as its page's example of support tickets: 6 million of 280 ms at 4096 MB", () => {
    expect(lambda({ invocations: 6 * M, wallMs: 280 }, { memoryMb: 4096 })).toEqual({
      "Lambda requests": "1.00",
      "Lambda duration": "105.33",
      total: "106.33",
    });
  });

  test("as an earlier page's example: 30 million of 200 ms at 128 MB", () => {
    expect(lambda({ invocations: 30 * M, wallMs: 200 })).toEqual({
      "Lambda requests": "5.80",
      "Lambda duration": "5.83",
      total: "11.63",
    });
  });

  test.each([
    ["1 million of 200 ms at 128 MB, free", { invocations: M, wallMs: 200 }, {}, "0.00"],
    // 25,000 GB-s
    ["the same otherwise", { invocations: M, wallMs: 200 }, { freeTier: false }, "0.62"],
    // 450,000 GB-s less 400,000
    [
      "300,000 images of 3 s at 512 MB",
      { invocations: 300_000, wallMs: 3000 },
      { memoryMb: 512 },
      "0.83",
    ],
    // 258.2 million requests and 2,840,000 GB-s: 51.64 + 47.333
    ["259.2 million of 100 ms", { invocations: 259.2 * M, wallMs: 100 }, {}, "98.97"],
    // 6 billion GB-s at the first price and 1.68 billion at the second: 100,000.20 + 25,200 + 12
    [
      "60 million of 1 s at 128 GB",
      { invocations: 60 * M, wallMs: 1000 },
      { memoryMb: 131_072, freeTier: false },
      "125212.20",
    ],
  ])("%s", (_, used, options, total) => {
    expect(lambda(used, options)["total"]).toBe(total);
  });

  test("each invocation's time rounded up to a millisecond", () => {
    const rows = [{ ...month({ invocations: 1000 }).rows[0], wall_time_ms: 1200 }];
    const usage = { ...month({}), rows } as MonthUsage;
    const [, duration] = billFor("aws-lambda-function-url", usage).lines;
    // 1000 times 2 ms at an eighth of a GB
    expect(duration).toMatchObject({ name: "Lambda duration", used: "0.25" });
  });

  test("requests that come in by a gateway, by its tiers, and no other events", () => {
    expect(gateway("aws-lambda-http-api", 1)).toBe("1.00");
    expect(gateway("aws-lambda-http-api", 310)).toBe("309.00");
    expect(gateway("aws-lambda-rest-api", 1)).toBe("3.50");
    // 333 at 3.50, 667 at 2.80 and one at 2.38
    expect(gateway("aws-lambda-rest-api", 1001)).toBe("3035.48");
    expect(gateway("aws-lambda-http-api", 310, "queue")).toBe("0.00");
  });

  test("what requests have sent out", () => {
    const usage = month({ invocations: 1, responseBytes: 300 * 1024 ** 3 });
    expect(inCents(billFor("aws-lambda-function-url", usage))).toEqual({
      "Data transfer out": "18.00",
      total: "18.00",
    });
  });
});

describe("Cloudflare bills", () => {
  test.each([
    [
      "15 million requests of 7 ms",
      { invocations: 15 * M, cpuMs: 7 },
      { Subscription: "5.00", Requests: "1.50", "CPU time": "1.50", total: "8.00" },
    ],
    [
      "3 million of 7 ms",
      { invocations: 3 * M, cpuMs: 7 },
      { Subscription: "5.00", total: "5.00" },
    ],
    [
      "a cron once an hour that takes three minutes",
      { trigger: "scheduled", invocations: 720, cpuMs: 180_000 },
      { Subscription: "5.00", "CPU time": "1.99", total: "6.99" },
    ],
    [
      "100 million of 7 ms",
      { invocations: 100 * M, cpuMs: 7 },
      { Subscription: "5.00", Requests: "27.00", "CPU time": "13.40", total: "45.40" },
    ],
  ])("as its page's example of Workers: %s", (_, used, expected) => {
    expect(paid(used)).toEqual(expected);
  });

  test.each([
    [
      "1,000 objects of 1 GB, each read 1,000 times",
      { operations: { "r2.put": 1000, "r2.get": M }, storage: { r2: whole(1000 * 1e9) } },
      { "R2 storage": "14.85" },
    ],
    [
      "hosting of assets: 10 million reads a day",
      { operations: { "r2.put": 100_000, "r2.get": 300 * M }, storage: { r2: whole(1e10) } },
      { "R2 class B operations": "104.40" },
    ],
  ])("as its page's example of R2: %s", (_, used, expected) => {
    expect(paid(used)).toMatchObject(expected);
    expect(Object.keys(paid(used))).toHaveLength(3);
  });

  test("as its page's example of Queues: a million messages a day", () => {
    const operations = { "queue.send": 30 * M };
    expect(paid({ operations })).toMatchObject({ "Queue operations": "35.60", total: "40.60" });
  });

  test("begun units of R2 like whole ones, and nothing else", () => {
    const operations = { "r2.put": M + 1, "kv.put": M + 1 };
    const bill = billFor(
      "cloudflare-workers-paid",
      month({ operations, storage: { r2: { n: 10_100_000_001n, d: 1n } } }),
    );
    const usd = Object.fromEntries(bill.lines.map((line) => [line.name, line.usd]));
    expect(usd).toMatchObject({
      "R2 class A operations": "4.50",
      "R2 storage": "0.015",
      "KV writes": "0.000005",
    });
  });

  test("KV by the kind of operation", () => {
    const operations = {
      "kv.get": 12 * M,
      "kv.put": 2 * M,
      "kv.delete": 1.5 * M,
      "kv.list": 1.1 * M,
    };
    expect(paid({ operations, storage: { kv: whole(3e9) } })).toEqual({
      Subscription: "5.00",
      "KV reads": "1.00",
      "KV writes": "5.00",
      "KV deletes": "2.50",
      "KV lists": "0.50",
      "KV storage": "1.00",
      total: "15.00",
    });
  });

  test("calls from worker to worker by their CPU time alone", () => {
    const used = { trigger: "rpc", invocations: 50 * M, cpuMs: 1 };
    expect(paid(used)).toEqual({ Subscription: "5.00", "CPU time": "0.40", total: "5.40" });
  });

  test("nothing on the free plan, and says what it would have refused", () => {
    expect(free({ invocations: 100_000, cpuMs: 10 })).toMatchObject({ usd: "0.00", exceeded: [] });
    const operations = { "kv.put": 1001 };
    expect(free({ invocations: 100_001, cpuMs: 12, operations }).exceeded).toEqual([
      "Requests: 100001 on 2026-11-03, at most 100000",
      "CPU time in ms: 12 in the mean, at most 10",
      "KV writes: 1001 on 2026-11-03, at most 1000",
    ]);
  });

  test("what is not counted by name, and not as free", () => {
    const { not_counted } = billFor("cloudflare-workers-paid", month({}));
    expect(not_counted).toEqual(["D1 rows read", "D1 rows written"]);
  });
});

describe("Google and Azure bill", () => {
  test("Cloud Run functions: 100 ms at a time, vCPU and memory apart", () => {
    // 10 million of 100 ms: a million seconds, 83,000 vCPU-seconds and 125,000 GiB-seconds
    const used = { invocations: 10 * M, wallMs: 20 };
    expect(inCents(billFor("google-cloud-run-functions", month(used)))).toEqual({
      Requests: "3.20",
      total: "3.20",
    });
    const bill = billFor("google-cloud-run-functions", month(used), { freeTier: false });
    expect(inCents(bill)).toEqual({ CPU: "1.99", Memory: "0.31", Requests: "4.00", total: "6.30" });
  });

  test("Azure Functions as in a guide's example: 3 million of 1 s at 1.5 GB", () => {
    const used = month({ invocations: 3 * M, wallMs: 1000 });
    expect(inCents(billFor("azure-functions", used, { memoryMb: 1536 }))).toEqual({
      "Execution time": "65.60",
      Executions: "0.40",
      total: "66.00",
    });
  });

  test("Azure Functions at least 100 ms of memory in steps of 128 MB", () => {
    const used = month({ invocations: 10, wallMs: 1 });
    const [time] = billFor("azure-functions", used, { memoryMb: 129 }).lines;
    expect(time).toMatchObject({ name: "Execution time", used: "0.25" });
  });
});

describe("money", () => {
  test("is exact where floating point numbers are not", () => {
    expect(toCents(cost({ n: 3n, d: 1n }, parseDecimal("0.1")))).toBe("0.30");
    // 1.005 is a little less than that as a floating point number
    expect(toCents(cost(whole(1), parseDecimal("1.005")))).toBe("1.01");
    expect(toCents(cost(whole(1), parseDecimal("1.0049999")))).toBe("1.00");
  });

  test("adds up over thousands of scripts as over one", () => {
    const one = month({ invocations: 7_777_000, wallMs: 123, cpuMs: 1.234 });
    const [row] = month({ invocations: 7777, wallMs: 123, cpuMs: 1.234 }).rows;
    const many = { ...one, rows: Array.from({ length: 1000 }, () => row) } as MonthUsage;
    for (const { plans } of priceSheets().sheets) {
      for (const { id } of plans) expect(billFor(id, many)).toEqual(billFor(id, one));
    }
  });
});

const day = (date: number): number => Date.UTC(2026, 10, date);

test("a byte-month is what is held for a whole month", () => {
  const month = parseMonth("2026-11") as Month;
  const gb = (samples: Held[], now = day(31)): string =>
    toFixed(multiply(byteMonthsOf(samples, month, now), { n: 1n, d: 10n ** 9n }), 4);
  // R2's example: 1 GB for 5 days, then 3 GB for 25.
  const grows = [
    { at: day(1), bytes: 1e9 },
    { at: day(6), bytes: 3e9 },
  ];
  expect(gb(grows)).toBe("2.6667");
  expect(gb(grows, day(6))).toBe("0.1667");
  // Held since long before, and deleted in the middle.
  const deleted = [
    { at: day(-200), bytes: 1e9 },
    { at: day(16), bytes: 0 },
  ];
  expect(gb(deleted)).toBe("0.5000");
  expect(gb([{ at: day(40), bytes: 1e9 }], day(50))).toBe("0.0000");
  expect(gb([])).toBe("0.0000");
});

test("every price names its source and the day on which it was known", () => {
  const { sheets, machines } = priceSheets();
  const sources = [...sheets.flatMap((sheet) => sheet.sources), ...machines.map((m) => m.source)];
  for (const { url, known_on } of sources) {
    expect(url).toMatch(/^https:/);
    expect(Date.parse(known_on)).toBeLessThan(Date.now());
  }
  const ids = sheets.flatMap(({ plans }) => plans.map(({ id }) => id));
  expect(new Set(ids).size).toBe(ids.length);
});

describe("on a platform", () => {
  const KV_BYTES = 100_000;
  const R2_BYTES = 2_000_000;
  const MESSAGE = "x".repeat(5000);
  const CODE = `export default {
    async fetch(request, { KV, BUCKET, DB, QUEUE }) {
      const { pathname } = new URL(request.url);
      if (pathname === "/kv") {
        await KV.put("a", "x".repeat(${KV_BYTES - 1}));
        await KV.put("a", "x".repeat(${KV_BYTES / 2}));
        await KV.put("b", new Response("x".repeat(${KV_BYTES / 2})).body, { expirationTtl: 3600 });
      }
      if (pathname === "/r2") {
        await BUCKET.put("a", new Uint8Array(${R2_BYTES / 2}));
        const upload = await BUCKET.createMultipartUpload("unfinished");
        await upload.uploadPart(1, new Uint8Array(${R2_BYTES / 2}));
        await BUCKET.get("a");
      }
      if (pathname === "/d1") {
        await DB.prepare("CREATE TABLE t (text)").run();
        await DB.prepare("INSERT INTO t VALUES (?)").bind("x".repeat(500_000)).run();
      }
      if (pathname === "/queue") await QUEUE.send("${MESSAGE}", { contentType: "text" });
      if (pathname === "/log") console.log("kept");
      return new Response("x".repeat(1000));
    },
  }`;
  const REQUESTS = 40;

  let platform: Platform;
  let kv: string;
  let database: string;
  let queue: string;
  beforeAll(async () => {
    platform = await startPlatform({ env: { MAYFLY_EXECUTORS: "1" } });
    kv = await createNamespace(platform, "values");
    queue = await createQueue(platform, "waiting");
    await account(platform, "POST", "/r2/buckets", { name: "files" });
    const { uuid } = await account<{ uuid: string }>(platform, "POST", "/d1/database", {
      name: "rows",
    });
    database = uuid;
    await upload(platform, {
      name: "user",
      code: CODE,
      isolation: "shared",
      metadata: {
        observability: { enabled: true },
        bindings: [
          { type: "kv_namespace", name: "KV", namespace_id: kv },
          { type: "r2_bucket", name: "BUCKET", bucket_name: "files" },
          { type: "d1", name: "DB", id: database },
          { type: "queue", name: "QUEUE", queue_name: "waiting" },
        ],
      },
    });
    const paths = ["/kv", "/r2", "/d1", "/queue", "/log"];
    for (let count = 0; count < REQUESTS; count++) {
      const { status } = await callWorker(platform, "user", paths[count] ?? "/");
      expect(status).toBe(200);
    }
    await until(async () => (await usage()).total.invocations === REQUESTS, 20_000);
  });
  afterAll(() => platform?.stop());

  const get = (path: string): Promise<Answer> =>
    callApi(platform, "GET", `/accounts/${platform.accountId}/mayfly/usage${path}`);
  const usage = async (): Promise<{ rows: UsageRow[]; total: UsageRow }> =>
    (await get("?by=script,trigger")).result;
  const bytes = async (): Promise<Record<string, number>> => {
    const { kinds } = (await get("/storage?measure=true")).result as {
      kinds: Record<string, { bytes: number }>;
    };
    return Object.fromEntries(Object.entries(kinds).map(([kind, held]) => [kind, held.bytes]));
  };

  test("this month's usage has its price everywhere", async () => {
    const { total, rows } = await usage();
    const { result } = await get("/prices?free_tier=false");
    expect(result).toMatchObject({ month: new Date().toISOString().slice(0, 7), usage: total });
    const bill = (planId: string): Bill => result.bills.find((one: Bill) => one.id === planId);
    const usd = (planId: string): Record<string, string> =>
      Object.fromEntries(bill(planId).lines.map((line) => [line.name, line.usd]));

    const [{ wall_time_ms }] = rows as [UsageRow];
    const billedMs = Math.max(1, Math.ceil(wall_time_ms / REQUESTS)) * REQUESTS;
    const gateway = usd("aws-lambda-http-api");
    // 40 at 0.20 and at 1.00 dollars for a million, and an eighth of a GB
    expect(gateway).toMatchObject({
      "Lambda requests": "0.000008",
      "API Gateway, HTTP API": "0.00004",
    });
    expect(Number(gateway["Lambda duration"])).toBeCloseTo((billedMs / 8000) * 0.0000166667, 11);
    // 40 answers of 1000 bytes
    expect(Number(gateway["Data transfer out"])).toBeCloseTo((40_000 / 2 ** 30) * 0.09, 11);
    expect(usd("aws-lambda-rest-api")).toMatchObject({ "API Gateway, REST API": "0.00014" });
    // What is included in the price stays so. R2's units are whole ones.
    expect(usd("cloudflare-workers-paid")).toMatchObject({
      Subscription: "5.00",
      Requests: "0.00",
      "R2 class A operations": "4.50",
      "R2 class B operations": "0.36",
    });
    const used = Object.fromEntries(
      bill("cloudflare-workers-paid").lines.map((line) => [line.name, line.used]),
    );
    // Three puts, three for a message, three of R2 (put, create, part): millionths
    expect(used).toMatchObject({
      Requests: "0.00004",
      "KV writes": "0.000003",
      "Queue operations": "0.000003",
      "R2 class A operations": "0.000003",
      "R2 class B operations": "0.000001",
    });
    expect(Number(used["CPU time"])).toBeCloseTo(total.cpu_time_ms / 1e6, 6);
    expect(bill("cloudflare-workers-free").exceeded).toEqual([]);
  });

  test("and is free where free tiers hold, beside what the machine costs", async () => {
    const { stdout } = await platform.mayfly(["usage", "--prices", "--machine", "5EUR"]);
    expect(stdout).toMatch(/Lambda requests +0.00004 used +0 billed +million requests +\$0.00/);
    expect(stdout).toMatch(/^AWS Lambda with HTTP API +\$0.00004\d?$/m);
    expect(stdout).toMatch(/^Cloudflare Workers Paid +\$5.00$/m);
    expect(stdout).toMatch(/^this machine, whatever runs +5 EUR$/m);
    const json = await platform.mayfly([
      "usage",
      "--prices",
      "--machine",
      "hetzner-cx33",
      "--json",
    ]);
    expect(JSON.parse(json.stdout)).toMatchObject({
      free_tier: true,
      machine: { id: "hetzner-cx33", per_month: "6.49", currency: "EUR" },
    });
  });

  test.each([
    ["?month=2026-13", "month", '"2026-13"'],
    ["?month=2999-01", "month", "not in the future"],
    ["?machine=5GBP", "machine", "5EUR or 12.50USD, or lightsail-2gb"],
    ["?free_tier=no", "free_tier", "true or false"],
    ["?by=script", "by", "month, machine, free_tier"],
  ])("%s is refused with what is allowed", async (query, field, words) => {
    const { status, message } = await get(`/prices${query}`);
    expect(status).toBe(400);
    expect(message).toContain(`${field}: `);
    expect(message).toContain(words);
  });

  test("options that do not belong together are refused", async () => {
    for (const args of [
      ["--month", "2026-11"],
      ["--prices", "--by", "script"],
    ]) {
      const { code, stderr } = await platform.mayfly(["usage", ...args]);
      expect(code).not.toBe(0);
      expect(stderr).toContain(args.includes("--by") ? "--by" : "--month");
    }
  });

  test("what is held is measured by kind, and shown", async () => {
    const held = await bytes();
    expect(held).toMatchObject({
      kv: KV_BYTES,
      r2: R2_BYTES,
      code: CODE.length,
    });
    expect(held["queues"]).toBeGreaterThanOrEqual(MESSAGE.length);
    expect(held["queues"]).toBeLessThan(MESSAGE.length + 200);
    expect(held["d1"]).toBeGreaterThan(500_000);
    expect(held["logs"]).toBeGreaterThan(0);
    const { stdout } = await platform.mayfly(["usage"]);
    expect(stdout).toMatch(/^Bytes held at .*kv 100,000, r2 2,000,000/m);
    const { result } = await get("/storage");
    expect(result.kinds.r2.gb_months).toBeGreaterThan(0);
    expect(result).toMatchObject({ not_measured: [] });
  });

  test("other accounts see their own and pay for nothing else", async () => {
    const made = await callApi(platform, "POST", "/accounts", { name: "O", subdomain: "o" });
    const other = { ...platform, accountId: made.result.id as string };
    const { value } = await account<{ value: string }>(other, "POST", "/tokens", { name: "o" });
    const id = await createNamespace(other, "own");
    await account(other, "PUT", `/storage/kv/namespaces/${id}/bulk`, [
      { key: "k", value: "12345" },
    ]);
    const ask = (accountId: string, path: string): Promise<Answer> =>
      callApi(platform, "GET", `/accounts/${accountId}/mayfly/usage${path}`, undefined, value);
    await until(async () => {
      const { result } = await ask(other.accountId, "/storage?measure=true");
      return result.kinds.kv.bytes === 5 && result.kinds.r2.bytes === 0;
    }, 20_000);
    expect((await ask(other.accountId, "/prices")).result.usage.invocations).toBe(0);
    for (const path of ["/prices", "/storage"]) {
      expect(await ask(platform.accountId, path)).toMatchObject({ status: 403, code: 10000 });
    }
    expect(await bytes()).toMatchObject({ kv: KV_BYTES });
  });

  test("deleting frees it", async () => {
    await account(platform, "DELETE", "/r2/buckets/files/objects/a");
    await until(async () => (await bytes())["r2"] === R2_BYTES / 2, 20_000);
    await account(platform, "DELETE", "/workers/scripts/user");
    await account(platform, "DELETE", `/storage/kv/namespaces/${kv}`);
    await account(platform, "DELETE", `/d1/database/${database}`);
    await account(platform, "DELETE", `/queues/${queue}`);
    await until(async () => (await bytes())["code"] === 0, 20_000);
    expect(await bytes()).toEqual({ kv: 0, d1: 0, queues: 0, logs: 0, code: 0, r2: R2_BYTES / 2 });
    // It was held for some of the month, and that is paid for.
    expect((await get("/storage")).result.kinds.kv.gb_months).toBeGreaterThan(0);
  });
});
