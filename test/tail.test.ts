import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { callApi } from "./harness/api.ts";
import { beginRun } from "./harness/cron.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { pidOf, until } from "./harness/processes.ts";
import { account, createQueue } from "./harness/queue.ts";
import {
  beginSession,
  connected,
  lookOn,
  sessions,
  startTail,
  startTails,
  type Item,
  type Tail,
} from "./harness/tail.ts";
import { upload } from "./harness/upload.ts";

// Says in each line which call it belongs to, and waits, so that calls overlap.
const CODE = `
import { WorkerEntrypoint } from "cloudflare:workers";
let id;
async function work(what, index) {
  console.log(what, index, index % 5 === 0 ? { find: "needle" } : { find: "straw" });
  await scheduler.wait(index % 7);
  console.warn("again", index);
  if (index % 4 === 3) throw new TypeError("unlucky " + index);
}
export class Calc extends WorkerEntrypoint {
  async add(index) {
    await work("add", index);
    return index;
  }
}
export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    id ??= crypto.randomUUID();
    if (pathname === "/id") return new Response(id);
    if (pathname === "/huge") for (let i = 0; i < 10; i++) console.log("x".repeat(100_000));
    else if (pathname === "/large") console.log("x".repeat(100_000));
    else await work("fetch", Number(pathname.slice(1)));
    return new Response("done");
  },
  async scheduled() {
    await work("scheduled", 1);
  },
  async queue(batch) {
    for (const { body } of batch.messages) await work("queue", body);
  },
};`;

const CALLER = `export default {
  async fetch(request, env) {
    const indexes = Array.from({ length: 20 }, (_, index) => index);
    const calls = indexes.map((index) => env.CALC.add(index).catch(() => undefined));
    return Response.json(await Promise.all(calls));
  },
};`;

const OTHER_CLIENT = "198.51.100.7";
const CRON = "0 0 1 1 *";

let platform: Platform;

beforeAll(async () => {
  platform = await startPlatform({
    env: {
      MAYFLY_TRUSTED_PROXIES: "127.0.0.1",
      MAYFLY_ZONES: "example.com",
      MAYFLY_EXECUTORS: "2",
    },
  });
});
afterAll(() => platform?.stop());

const deploy = (name: string, metadata = {}): Promise<void> =>
  upload(platform, {
    name,
    code: CODE,
    isolation: name === "alone" ? "request" : "shared",
    metadata,
  });

const range = (count: number, from = 0): number[] =>
  Array.from({ length: count }, (_, index) => from + index);
const METHODS = ["GET", "POST", "PUT"];
const methodOf = (index: number): string => METHODS[index % METHODS.length] as string;
const headersOf = (index: number): Record<string, string> => ({
  "x-kind": index % 6 === 0 ? "alpha one" : "beta",
  ...(index % 2 === 1 && { "x-forwarded-for": OTHER_CLIENT }),
  cookie: "session=secret",
  "x-api-key": "secret",
});

async function call(script: string, indexes: number[]): Promise<void> {
  await Promise.all(
    indexes.map(async (index) => {
      const init = { method: methodOf(index), headers: headersOf(index) };
      const response = await platform.fetchHost(`${script}.dev.localhost`, `/${index}`, init);
      expect(response.status).toBe(index % 4 === 3 ? 500 : 200);
      await response.arrayBuffer();
    }),
  );
}

const indexOf = ({ event }: Item): number => Number(new URL(event.request.url).pathname.slice(1));
const indexesIn = (items: Item[]): number[] => items.map(indexOf).sort((a, b) => a - b);

/** The items are each of one invocation, with what belongs to it and nothing else. */
function expectWhole(items: Item[]): void {
  for (const { logs, exceptions, outcome } of items) {
    const [first, second] = logs;
    const index = first?.message[1] as number;
    expect(logs.map(({ level }) => level)).toEqual(["log", "warn"]);
    expect(second?.message).toEqual(["again", index]);
    const failed = index % 4 === 3;
    expect(outcome).toBe(failed ? "exception" : "ok");
    expect(exceptions.map(({ name, message }) => `${name}: ${message}`)).toEqual(
      failed ? [`TypeError: unlucky ${index}`] : [],
    );
    if (failed) expect(exceptions[0]?.stack).toMatch(/^\s+at work \(index\.js:\d+:\d+\)/);
  }
}

describe("wrangler tail of a busy worker", () => {
  let all: Tail;
  let pretty: Tail;
  const COUNT = 300;
  const indexes = range(COUNT);
  const started: Tail[] = [];
  afterAll(() => Promise.all(started.map((tail) => tail.end("SIGINT"))));

  it("shows each session what its filters say, and nothing else", async () => {
    // What an attempt before has left.
    for (const tail of started.splice(0)) await tail.end("SIGINT");
    await deploy("watched", { annotations: { "workers/tag": "v1", "workers/message": "first" } });
    const newest = async (): Promise<string> => {
      const path = "/workers/scripts/watched/versions";
      const { items } = await account<{ items: { id: string }[] }>(platform, "GET", path);
      return items[0]?.id as string;
    };
    const version = await newest();
    const tails = await startTails(
      platform,
      "watched",
      ["--format", "json"],
      ["--format", "pretty"],
      ["--status", "error", "--method", "POST", "--method", "put"],
      ["--header", "X-Kind: alpha", "--search", "needle", "--ip", "self"],
      ["--version-id", version, "--ip", OTHER_CLIENT, "--sampling-rate", "0.5"],
    );
    started.push(...tails);
    [all, pretty] = tails as [Tail, Tail];
    const [, , failed, found, sampled] = tails as [Tail, Tail, Tail, Tail, Tail];
    // As wrangler sends them, each alone.
    const filters: [object, (index: number) => boolean][] = [
      [{ outcome: ["ok"] }, (index) => index % 4 !== 3],
      [{ method: ["PUT"] }, (index) => methodOf(index) === "PUT"],
      [{ header: { key: "x-kind", query: "one" } }, (index) => index % 6 === 0],
      [{ query: "needle" }, (index) => index % 5 === 0],
      [{ client_ip: ["192.0.2.1", "self"] }, (index) => index % 2 === 0],
    ];
    const onlookers = await Promise.all(
      filters.map(([filter]) => lookOn(platform, "watched", { filters: [filter] })),
    );
    const path = `/accounts/${platform.accountId}/workers/scripts/watched/tails`;
    expect(await callApi(platform, "POST", path, {})).toMatchObject({ status: 429, code: 10057 });

    await call("watched", range(COUNT / 2));
    await until(() => all.items().length >= COUNT / 2, 20_000);
    await deploy("watched");
    await call("watched", range(COUNT / 2, COUNT / 2));

    const expected: [unknown, () => Item[], (index: number) => boolean][] = [
      ["all", all.items, () => true],
      ["failed", failed.items, (index) => index % 4 === 3 && methodOf(index) !== "GET"],
      ["found", found.items, (index) => index % 30 === 0],
      ...filters.map(([filter, passes], index): (typeof expected)[number] => {
        return [filter, () => onlookers[index]?.messages ?? [], passes];
      }),
    ];
    for (const [, items, passes] of expected) {
      await until(() => items().length >= indexes.filter(passes).length, 20_000);
    }
    for (const [name, items, passes] of expected) {
      expect(indexesIn(items()), JSON.stringify(name)).toEqual(indexes.filter(passes));
    }
    // Half of 75, and less than one in a million times so far from that.
    const share = indexesIn(sampled.items());
    expect(share.every((index) => index % 2 === 1 && index < COUNT / 2)).toBe(true);
    expect(Math.abs(share.length - 37)).toBeLessThan(25);

    for (const { socket } of onlookers) socket.close();
    for (const tail of [failed, found, sampled]) expect(await tail.end("SIGINT")).toBe(0);
    await until(async () => (await sessions(platform, "watched")).length === 2, 5_000);
  }, 180_000);

  it("shows invocations in Cloudflare's shape, without secrets and never mixed up", () => {
    const items = all.items();
    expectWhole(items);
    const item = items.find((one) => indexOf(one) === 3) as Item;
    expect(item).toEqual({
      wallTime: expect.any(Number),
      cpuTime: expect.any(Number),
      truncated: false,
      executionModel: "stateless",
      outcome: "exception",
      scriptName: "watched",
      scriptVersion: { id: expect.any(String), tag: "v1", message: "first" },
      diagnosticsChannelEvents: [],
      exceptions: [expect.objectContaining({ name: "TypeError", message: "unlucky 3" })],
      logs: [
        { level: "log", message: ["fetch", 3, { find: "straw" }], timestamp: expect.any(Number) },
        { level: "warn", message: ["again", 3], timestamp: expect.any(Number) },
      ],
      eventTimestamp: expect.any(Number),
      event: {
        request: {
          url: `http://watched.dev.localhost:${platform.port}/3`,
          method: "GET",
          headers: expect.objectContaining({
            "x-kind": "beta",
            "cf-connecting-ip": OTHER_CLIENT,
            cookie: "REDACTED",
            "x-api-key": "REDACTED",
          }),
          cf: expect.anything(),
        },
        response: { status: 500 },
      },
    });
    expect(Math.abs(item.eventTimestamp - (item.logs[0]?.timestamp ?? 0))).toBeLessThan(5_000);
  });

  it("shows calls, crons and batches as well, and all in words", async () => {
    const queueId = await createQueue(platform, "jobs");
    await upload(platform, {
      name: "caller",
      code: CALLER,
      isolation: "shared",
      metadata: {
        bindings: [{ type: "service", name: "CALC", service: "watched", entrypoint: "Calc" }],
      },
    });
    const script = "/workers/scripts/watched";
    await account(platform, "PUT", `${script}/schedules`, [{ cron: CRON }]);
    await account(platform, "POST", `/queues/${queueId}/consumers`, {
      type: "worker",
      script_name: "watched",
      settings: { batch_size: 1, max_wait_time_ms: 0, max_retries: 0, max_concurrency: 10 },
    });
    const before = all.items().length;

    await platform.fetchHost("caller.dev.localhost");
    const messages = range(20).map((body) => ({ body, content_type: "json" }));
    await account(platform, "POST", `/queues/${queueId}/messages/batch`, { messages });
    await beginRun(platform, "watched", CRON);
    await until(() => all.items().length === before + 41, 20_000);

    const items = all.items().slice(before);
    expectWhole(items);
    const calls = items.filter(({ event }) => "rpcMethod" in event);
    expect(calls).toHaveLength(20);
    expect(calls[0]).toMatchObject({ entrypoint: "Calc", event: { rpcMethod: "add" } });
    const batches = items.filter(({ event }) => "queue" in event);
    expect(batches).toHaveLength(20);
    expect(batches[0]?.event).toEqual({ queue: "jobs", batchSize: 1 });
    const runs = items.filter(({ event }) => "cron" in event);
    expect(runs).toHaveLength(1);
    expect(runs[0]?.event).toEqual({ cron: CRON, scheduledTime: expect.any(Number) });

    await until(() => pretty.output().includes(`"${CRON}" @ `), 10_000);
    const words = pretty.output();
    expect(words).toContain("Connected to watched, waiting for logs...");
    expect(words).toContain(`GET http://watched.dev.localhost:${platform.port}/0 - Ok @ `);
    expect(words).toContain(`/3 - Exception Thrown @ `);
    expect(words).toContain("  (log) fetch 0 { find: 'needle' }");
    expect(words).toContain("TypeError: unlucky 3");
    expect(words).toMatch(/Calc\.add - Ok @ /);
    expect(words).toMatch(/Queue jobs \(1 message\) - Exception Thrown @ /);
  });

  it("ends when the worker is deleted, and says so", async () => {
    const path = "/workers/scripts/watched?force=true";
    await account(platform, "DELETE", path);
    expect(await all.end()).toBe(0);
    expect(await pretty.end()).toBe(0);
    expect(pretty.output()).toContain("The Worker was deleted.");
  });
});

const hosts = (items: Item[]): string[] => [
  ...new Set(items.map(({ event }) => new URL(event.request.url).hostname)),
];

const idAt = async (script: string): Promise<string> =>
  (await platform.fetchHost(`${script}.dev.localhost`, "/id")).text();

describe("a session", () => {
  it("shows invocations that have an isolate of their own, and of one account only", async () => {
    await deploy("alone");
    const { result: other } = await callApi(platform, "POST", "/accounts", {
      name: "Other",
      subdomain: "other",
    });
    const theirs = { ...platform, accountId: other.id as string };
    await upload(theirs, { name: "alone", code: CODE, isolation: "shared" });
    const ours = await lookOn(platform, "alone");
    const their = await lookOn(theirs, "alone");

    await call("alone", range(10));
    for (const index of range(5)) {
      await (await platform.fetchHost("alone.other.localhost", `/${index}`)).arrayBuffer();
    }
    await until(() => ours.messages.length >= 10 && their.messages.length >= 5, 10_000);
    await sleep(200);
    expectWhole(ours.messages);
    expect([ours.messages.length, hosts(ours.messages)]).toEqual([10, ["alone.dev.localhost"]]);
    expect([their.messages.length, hosts(their.messages)]).toEqual([5, ["alone.other.localhost"]]);

    // Nobody's URL is good for another session, and nothing is without one.
    const swapped = new URL(their.session.url);
    swapped.search = new URL(ours.session.url).search;
    const bare = new URL(their.session.url);
    bare.search = "";
    for (const url of [swapped, bare]) {
      const socket = new WebSocket(url, "trace-v1");
      const [, answer] = await once(
        socket.on("error", () => {}),
        "unexpected-response",
      );
      expect((answer as { statusCode: number }).statusCode).toBe(403);
    }
    const path = `/accounts/${platform.accountId}/workers/scripts/alone/tails/${their.session.id}`;
    expect(await callApi(platform, "DELETE", path)).toMatchObject({ status: 404, code: 10007 });

    await account(platform, "DELETE", `/workers/scripts/alone/tails/${ours.session.id}`);
    expect((await ours.closed).code).toBe(1000);
    expect(await sessions(platform, "alone")).toEqual([]);
    their.socket.close();
    await until(async () => (await sessions(theirs, "alone")).length === 0, 5_000);
  });

  it("expires, whether anybody is connected or not, and then costs nothing more", async () => {
    await deploy("brief");
    // Lines are seen in another isolate than the one that serves when nobody looks.
    const before = await idAt("brief");
    const unused = await beginSession(platform, "brief", { expires_in: 1 });
    const { messages, closed } = await lookOn(platform, "brief", { expires_in: 3 });
    expect(Date.parse(unused.expires_at) - Date.now()).toBeLessThan(1_000);
    expect(await idAt("brief")).not.toBe(before);

    await until(async () => (await sessions(platform, "brief")).length === 1, 5_000);
    expect(await closed).toEqual({ code: 1000, reason: "The session has expired." });
    expect(messages.at(-1)?.event).toMatchObject({ message: "The session has expired." });
    expect(await sessions(platform, "brief")).toEqual([]);
    await until(async () => (await idAt("brief")) === before, 2_000);
  });

  it("ends with the connection of whoever looks on, also if that breaks off", async () => {
    await deploy("left");
    const { socket } = await lookOn(platform, "left");
    await connected(platform, "left", 1);
    socket.terminate();
    await until(async () => (await sessions(platform, "left")).length === 0, 5_000);
  });

  it("says when there is too much to show, and shows a part of it", async () => {
    await deploy("flood");
    const { messages, socket } = await lookOn(platform, "flood");
    const calls = range(120).map(async () => {
      await (await platform.fetchHost("flood.dev.localhost", "/large")).arrayBuffer();
    });
    await Promise.all(calls);
    await until(() => messages.some(({ event }) => event["type"] === "overload"), 10_000);
    const shown = messages.filter(({ event }) => "request" in event);
    expect(shown.length).toBeGreaterThan(30);
    expect(shown.length).toBeLessThan(120);
    // Other sessions are not concerned, and it is over when there is less.
    await sleep(2_100);
    await (await platform.fetchHost("flood.dev.localhost", "/id")).arrayBuffer();
    await until(() => messages.some(({ event }) => event["type"] === "overload-stop"), 5_000);
    socket.close();
  });

  it("is found by a route, and wrangler begins another one after a crash of state", async () => {
    await deploy("routed");
    const zones = await callApi(platform, "GET", "/zones?name=example.com");
    const zone = (zones.result as { id: string }[])[0]?.id;
    const route = { pattern: "example.com/*", script: "routed" };
    expect(await callApi(platform, "POST", `/zones/${zone}/workers/routes`, route)).toMatchObject({
      status: 200,
    });
    const tail = startTail(platform, ["example.com/*", "--format", "pretty"]);
    await connected(platform, "routed", 1, [tail]);
    expect(tail.output()).toContain("Connecting to worker routed at route example.com/*");

    process.kill(pidOf(platform, "state"), "SIGKILL");
    await until(() => tail.output().includes("Reconnected to routed."), 30_000);
    await (await platform.fetchHost("example.com", "/1")).arrayBuffer();
    await until(() => tail.output().includes("/1 - Ok @ "), 10_000);
    expect(await tail.end("SIGINT")).toBe(0);
    // The one that wrangler could not end, since state was away, ends when nobody has used it for a minute.
    const used = async (): Promise<boolean> =>
      (await sessions(platform, "routed")).some((session) => session.connected);
    await until(async () => !(await used()), 5_000);
  });

  it("says when lines were too many to be shown", async () => {
    await deploy("wordy");
    const { messages, socket } = await lookOn(platform, "wordy");
    await (await platform.fetchHost("wordy.dev.localhost", "/huge")).arrayBuffer();
    await until(() => messages.length > 0, 5_000);
    expect(messages[0]).toMatchObject({ truncated: true, outcome: "ok" });
    expect(messages[0]?.logs.length).toBeLessThan(10);
    socket.close();
  });

  it("is refused with the field that is wrong", async () => {
    await deploy("strict");
    const path = `/accounts/${platform.accountId}/workers/scripts/strict/tails`;
    const refused: [object, string][] = [
      [{ filters: [{ colour: "red" }] }, "filters.0.colour"],
      [{ filters: [{ sampling_rate: 2 }] }, "filters.0.sampling_rate"],
      [{ filters: "all" }, "filters"],
      [{ expires_in: 0 }, "expires_in"],
    ];
    for (const [body, field] of refused) {
      const answer = await callApi(platform, "POST", path, body);
      expect(answer).toMatchObject({ status: 400, code: 10001 });
      expect(answer.message).toContain(`${field}:`);
    }
    const nobody = `/accounts/${platform.accountId}/workers/scripts/nobody/tails`;
    expect(await callApi(platform, "POST", nobody, {})).toMatchObject({ status: 404, code: 10007 });
    expect(await sessions(platform, "strict")).toEqual([]);

    // Who may only read may look on.
    const reader = { name: "reader", access: "read" };
    const { value } = await account<{ value: string }>(platform, "POST", "/tokens", reader);
    const opened = await callApi(platform, "POST", path, {}, value);
    expect(opened).toMatchObject({ status: 200, result: { connected: false } });
    const ended = `${path}/${(opened.result as { id: string }).id}`;
    expect(await callApi(platform, "DELETE", ended, undefined, value)).toMatchObject({
      status: 200,
    });
  });
});
