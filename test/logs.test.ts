import { spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callApi } from "./harness/api.ts";
import { callWorker } from "./harness/call-worker.ts";
import { beginRun } from "./harness/cron.ts";
import { sendForm } from "./harness/form.ts";
import { logsPath, logsWhen, readAllLogs, readLogs, type Logged } from "./harness/logs.ts";
import { startPlatform, type ApiAccess, type Platform } from "./harness/platform.ts";
import { until } from "./harness/processes.ts";
import { account, createQueue } from "./harness/queue.ts";
import { upload } from "./harness/upload.ts";

const WALL_TIME_MS = 1_500;

// Answers with the invocation's id.
const CODE = `
import { WorkerEntrypoint } from "cloudflare:workers";
console.log("at the top level");
const circular = {};
circular.self = circular;
const throws = () => { throw new Error("not to be read"); };
const work = {
  levels() {
    console.debug("to debug");
    console.log("a", 1, true, null, undefined, { a: [1] });
    console.info("to inform");
    console.warn("to warn");
    console.error("to tell an error");
  },
  fields() {
    console.log({ user: { id: 7, name: "Ann" }, tags: ["x"] });
    console.log('{"user":{"id":8}}');
    console.log("user", { id: 9 });
  },
  odd() {
    console.log(circular, 10n, Symbol("s"), () => 1, { get x() { return throws(); } });
    console.log({ toJSON: throws }, new Proxy({}, { get: throws }), NaN, new Error("an error"));
    console.log(new Date(0), new Map(), new URL("http://x/"), new Uint8Array(2), Object.create(null));
    console.log();
    console.log({ toJSON() { console.log("while it is read"); return "read"; } });
  },
  large() {
    console.log("first");
    for (let i = 0; i < 5; i++) console.log(String(i).repeat(100_000));
  },
  late(ctx) {
    console.log("soon");
    ctx.waitUntil(scheduler.wait(900).then(() => {
      console.log("later");
      setTimeout(() => console.log("latest"), 10);
      return scheduler.wait(50);
    }));
  },
  throw() {
    console.log("before");
    throw new RangeError("thrown on purpose");
  },
  async hang() {
    console.log("before it hangs");
    await scheduler.wait(60_000);
  },
};
export default {
  async fetch(request, env, ctx) {
    const { pathname, searchParams } = new URL(request.url);
    const id = request.headers.get("cf-ray");
    if (pathname === "/env") return Response.json([Object.keys(env), String(env["mayfly:lines"])]);
    if (pathname === "/rpc") return new Response(await env.SELF.speak("a word"));
    if (pathname === "/named") return env.SELF.fetch(request);
    if (pathname === "/overlap") {
      const name = searchParams.get("n");
      for (let i = 0; i < 4; i++) {
        console.log(name, i);
        await scheduler.wait(Math.random() * 40);
      }
    }
    if (pathname === "/stream") {
      let left = 3;
      const pull = async (controller) => {
        await scheduler.wait(10);
        console.log("part", left);
        controller.enqueue(new TextEncoder().encode(left + " "));
        if (left-- === 1) controller.close();
      };
      return new Response(new ReadableStream({ pull }), { headers: { "x-id": id } });
    }
    await work[pathname.slice(1)]?.(ctx);
    return new Response(id);
  },
  scheduled() { console.log("a slot"); },
  queue({ messages }) { for (const { body } of messages) console.log({ message: body }); },
};
// A name like those of the platform's own functions.
export class take extends WorkerEntrypoint {}
export class Self extends WorkerEntrypoint {
  fetch(request) {
    console.log("named");
    return new Response(request.headers.get("cf-ray"));
  }
  speak(word) {
    console.log("spoken", word);
    return word;
  }
}`;

const ENABLED = { observability: { enabled: true } };

let platform: Platform;
let otherAccount: ApiAccess;

beforeAll(async () => {
  platform = await startPlatform({ env: { MAYFLY_EXECUTORS: "2" } });
  const made = await callApi(platform, "POST", "/accounts", { name: "Other", subdomain: "other" });
  otherAccount = { ...platform, accountId: made.result.id };
  for (const isolation of ["shared", "request"] as const) {
    const mayfly = { isolation, wall_time_ms: WALL_TIME_MS };
    const bindings = [{ type: "service", name: "SELF", service: isolation, entrypoint: "Self" }];
    const metadata = { ...ENABLED, mayfly };
    // It binds to itself, so there must be one first.
    await upload(platform, { name: isolation, code: CODE, isolation, metadata });
    await upload(platform, {
      name: isolation,
      code: CODE,
      isolation,
      metadata: { ...metadata, bindings },
    });
  }
});

afterAll(() => platform.stop());

/** Calls the worker, and gives its text: the invocation's id. */
async function call(name: string, path: string): Promise<string> {
  return (await callWorker(platform, name, path)).text;
}

/** Calls of the script `set`. */
let calls = 0;

async function callSet(path: string): Promise<string> {
  calls++;
  return call("set", path);
}

async function callOften(path: string, count: number): Promise<void> {
  for (let done = 0; done < count; done += 50) {
    await Promise.all(Array.from({ length: 50 }, () => callSet(path)));
  }
}

const countSet = async (): Promise<number> => (await readAllLogs(platform, "set")).length;

/** When both executors have told of all calls of it, and of what they wrote. */
async function allTold(): Promise<void> {
  await until(async () => {
    const path = "/mayfly/usage?script=set&since=1h";
    const usage = await account<{ total: { invocations: number } }>(platform, "GET", path);
    return usage.total.invocations === calls;
  }, 15_000);
  let counted = await countSet();
  await until(async () => {
    const before = counted;
    await sleep(1_000);
    return (counted = await countSet()) === before;
  }, 15_000);
}

/** What is kept of the invocation, when it has ended with so many lines. */
async function logged(name: string, id: string, lines: number): Promise<Logged> {
  const [found] = await logsWhen(
    platform,
    name,
    { invocation: id },
    ([found]) => found?.outcome != null && found.logs.length >= lines,
  );
  return found as Logged;
}

const urlOf = ({ event }: Logged): string => (event as { request: { url: string } }).request.url;
const texts = ({ logs }: Logged): string[] => logs.map(({ message }) => message.join(" "));

describe.each(["shared", "request"] as const)("Logs of a worker in %s mode", (name) => {
  it("have the lines of all levels, under the id that the request's cf-ray header has", async () => {
    const before = Date.now();
    const id = await call(name, "/levels");
    const found = await logged(name, id, 5);
    expect(found).toMatchObject({
      id,
      trigger: "fetch",
      entrypoint: null,
      outcome: "ok",
      status: 200,
      truncated: false,
      exceptions: [],
      event: {
        request: { method: "GET", url: `http://${name}.dev.localhost:${platform.port}/levels` },
      },
    });
    expect(found.logs.map(({ level, message }) => [level, ...message])).toEqual([
      ["debug", "to debug"],
      ["log", "a", 1, true, null, null, { a: [1] }],
      ["info", "to inform"],
      ["warn", "to warn"],
      ["error", "to tell an error"],
    ]);
    for (const { timestamp } of [{ timestamp: found.started_at }, ...found.logs]) {
      expect(Date.parse(timestamp)).toBeGreaterThanOrEqual(before - 1);
      expect(Date.parse(timestamp)).toBeLessThanOrEqual(Date.now());
    }
  });

  it("are found by level, text and JSON fields, all of one line", async () => {
    const fields = await call(name, "/fields");
    const levels = await call(name, "/levels");
    await logged(name, fields, 3);
    await logged(name, levels, 5);
    const find = async (query: Record<string, string | string[]>): Promise<string[]> => {
      const found = await readLogs(platform, name, query);
      return [fields, levels].filter((id) => found.some((invocation) => invocation.id === id));
    };
    expect(await find({})).toEqual([fields, levels]);
    expect(await find({ level: "warn" })).toEqual([levels]);
    expect(await find({ search: "TO INFORM" })).toEqual([levels]);
    expect(await find({ search: "to inform", level: "error" })).toEqual([]);
    expect(await find({ search: "/fields" })).toEqual([fields]);
    expect(await find({ field: "user.id=7" })).toEqual([fields]);
    expect(await find({ field: "user.id=8" })).toEqual([fields]);
    expect(await find({ field: ["user.id=7", "tags.0=x"] })).toEqual([fields]);
    expect(await find({ field: ["user.id=8", "tags.0=x"] })).toEqual([]);
    expect(await find({ field: "user.name" })).toEqual([fields]);
    expect(await find({ field: "user.id=9" })).toEqual([]);
    expect(await find({ outcome: "exception" })).toEqual([]);
    expect(await find({ trigger: "fetch", since: "1h" })).toEqual([fields, levels]);
    expect(await find({ until: "1h" })).toEqual([]);
    const { logs } = await logged(name, fields, 3);
    expect(logs.map((line) => line.fields)).toEqual([
      { user: { id: 7, name: "Ann" }, tags: ["x"] },
      { user: { id: 8 } },
      undefined,
    ]);
  });

  it("take arguments of any kind, as the runtime's tail shows them", async () => {
    const { logs } = await logged(name, await call(name, "/odd"), 5);
    const messages = logs.map(({ message }) => message);
    expect(messages.filter(([first]) => first !== "while it is read")).toEqual([
      [{}, "10", {}, "() => 1", {}],
      [{}, {}, null, "Error: an error"],
      ["1970-01-01T00:00:00.000Z", "[object Map]", "http://x/", "0,0", {}],
      [],
      ["read"],
    ]);
  });

  it("hold 256 KB of one invocation, and say when there was more", async () => {
    const found = await logged(name, await call(name, "/large"), 4);
    expect(found.truncated).toBe(true);
    expect(texts(found).map((text) => text.slice(0, 23))).toEqual([
      "first",
      "0".repeat(23),
      "1".repeat(23),
      "Log size limit exceeded",
    ]);
  });

  it("have the exception with its stack in the user's file names", async () => {
    const { text } = await callWorker(platform, name, "/throw");
    const id = /invocation ([0-9a-f]{16})/.exec(text)?.[1] ?? "";
    const found = await logged(name, id, 1);
    expect(texts(found)).toEqual(["before"]);
    expect(found).toMatchObject({ outcome: "exception", status: 500 });
    expect(found.exceptions).toEqual([
      {
        timestamp: expect.any(String),
        name: "RangeError",
        message: "thrown on purpose",
        stack: expect.stringMatching(/index\.js:\d+:\d+/),
      },
    ]);
    const severe = await readLogs(platform, name, { level: "error", search: "on purpose" });
    expect(severe.map((invocation) => invocation.id)).toContain(id);
  });

  it("have what is written after the response, by waitUntil work and by streams", async () => {
    const id = await call(name, "/late");
    expect(texts(await logged(name, id, 3))).toEqual(["soon", "later", "latest"]);
    const response = await platform.fetchHost(`${name}.dev.localhost`, "/stream");
    expect(await response.text()).toBe("3 2 1 ");
    const streamed = await logged(name, response.headers.get("x-id") ?? "", 3);
    expect(texts(streamed)).toEqual(["part 3", "part 2", "part 1"]);
  });

  it("have what was written before a handler exceeded its wall time", async () => {
    const { text } = await callWorker(platform, name, "/hang");
    const id = /invocation ([0-9a-f]{16})/.exec(text)?.[1] ?? "";
    const found = await logged(name, id, 1);
    expect(found).toMatchObject({ outcome: "exceededWallTime", status: 504 });
    expect(texts(found)).toEqual(["before it hangs"]);
  });

  it("do not mix up what runs at the same time", async () => {
    const names = Array.from({ length: 30 }, (_, index) => `call-${index}`);
    const ids = await Promise.all(names.map((n) => call(name, `/overlap?n=${n}`)));
    for (const [index, id] of ids.entries()) {
      const found = await logged(name, id, 4);
      expect(texts(found)).toEqual([0, 1, 2, 3].map((i) => `call-${index} ${i}`));
    }
  });

  it("have calls of entrypoints, by requests and by methods", async () => {
    await call(name, "/named");
    await call(name, "/rpc");
    const [named] = await logsWhen(platform, name, { search: "named" }, (found) =>
      found.some(({ entrypoint, outcome }) => entrypoint === "Self" && outcome === "ok"),
    );
    expect(named).toMatchObject({ trigger: "fetch", entrypoint: "Self" });
    const [spoken] = await logsWhen(platform, name, { trigger: "rpc" }, ({ length }) => length > 0);
    expect(spoken).toMatchObject({ entrypoint: "Self", event: { rpcMethod: "speak" } });
    expect(texts(spoken as Logged)).toEqual(["spoken a word"]);
  });

  it("cost the worker nothing of its env", async () => {
    expect(JSON.parse(await call(name, "/env"))).toEqual([["SELF"], "undefined"]);
  });
});

// Does to the globals and prototypes what could tell it of the platform, or break what the platform does.
const HOSTILE = `
import { AsyncLocalStorage } from "node:async_hooks";
const stolen = [];
const steal = (name) => function (...args) { stolen.push([name, typeof this, args.length]); throw new Error("broken " + name); };
const { get } = Headers.prototype;
const { apply } = Reflect;
// Runs what it is given outside of all invocations.
const outside = AsyncLocalStorage.snapshot();
export const other = { fetch(request) { console.log("not its own"); return new Response("other"); } };
const idOf = (request) => apply(get, request.headers, ["cf-ray"]);
export default { async fetch(request, env, ctx) {
  const url = request.url;
  if (url.endsWith("/modules")) {
    const modules = {};
    for (const name of ["context", "main-in-context", "main", "first", "user"]) {
      try {
        const module = await import("__mayfly/" + name + ".js");
        modules[name] = Object.keys(module);
        module.mayflyTakeContext?.({ enter: steal("enter"), sendAll: steal("sendAll") });
      } catch (error) { modules[name] = String(error); }
    }
    return Response.json(modules);
  }
  if (url.endsWith("/self")) {
    for (const id of ["x", '"],["', "x".repeat(16), '",0,0,[]],["ab",']) {
      outside(() => other.fetch(new Request(url, { headers: { "cf-ray": id } })));
    }
    console.log("calls itself");
    return new Response(idOf(request));
  }
  if (url.endsWith("/stolen")) return Response.json(stolen);
  if (url.endsWith("/break")) {
    for (const [target, names] of [
      [Object.prototype, ["take", "toJSON"]], [Array.prototype, ["push", "join", "map", "toJSON", "concat"]],
      [String.prototype, ["charCodeAt", "slice", "split"]], [Promise.prototype, ["then", "catch", "finally"]],
      [Headers.prototype, ["get"]], [JSON, ["stringify"]], [Math, ["imul"]], [Date, ["now"]], [Reflect, ["apply"]],
      [Function.prototype, ["call", "apply", "bind"]], [Map.prototype, ["get", "set"]], [scheduler, ["wait"]],
    ]) for (const name of names) Object.defineProperty(target, name, { value: steal(name), configurable: true, writable: true });
    console.log("all is broken");
    return new Response(idOf(request));
  }
  console.log("works on");
  return new Response(idOf(request));
} };`;

describe("A worker in shared mode", () => {
  it("gets no hold of how its lines are passed on, and cannot have them written for others", async () => {
    await upload(platform, {
      name: "hostile",
      code: HOSTILE,
      isolation: "shared",
      metadata: { ...ENABLED, compatibility_flags: ["nodejs_als"] },
    });
    const first = await call("hostile", "/");
    const modules = JSON.parse(await call("hostile", "/modules"));
    expect(modules.context).toEqual(["currentInvocation"]);
    expect(texts(await logged("hostile", first, 1))).toEqual(["works on"]);
    const self = await call("hostile", "/self");
    expect(texts(await logged("hostile", self, 1))).toEqual(["calls itself"]);
    expect(await readLogs(platform, "hostile", { search: "not its own" })).toEqual([]);
    const broken = await call("hostile", "/break");
    expect(broken).toMatch(/^[0-9a-f]{16}$/);
    const after = await call("hostile", "/after");
    expect(after).toMatch(/^[0-9a-f]{16}$/);
    expect(texts(await logged("hostile", broken, 1))).toEqual(["all is broken"]);
    expect(texts(await logged("hostile", after, 1))).toEqual(["works on"]);
  });

  it("is kept from the moment in which it is asked for, and no longer than that", async () => {
    await upload(platform, { name: "switched", code: CODE, isolation: "shared" });
    const settings = `/workers/scripts/switched/script-settings`;
    await call("switched", "/levels");
    await account(platform, "PATCH", settings, ENABLED);
    const id = await call("switched", "/levels");
    expect(texts(await logged("switched", id, 5))).toHaveLength(5);
    await account(platform, "PATCH", settings, { observability: { enabled: false } });
    await call("switched", "/levels");
    await account(platform, "PATCH", settings, ENABLED);
    const last = await call("switched", "/levels");
    await logged("switched", last, 5);
    const all = await readLogs(platform, "switched");
    expect(all.map((invocation) => invocation.id)).toEqual([last, id]);
  });
});

describe("The settings of observability", () => {
  const settings = "/workers/scripts/set/script-settings";
  const set = (observability: object): Promise<unknown> =>
    account(platform, "PATCH", settings, { observability });
  beforeAll(() => upload(platform, { name: "set", code: CODE, isolation: "shared" }));

  it("keep the share of invocations that head_sampling_rate says, with all their lines", async () => {
    await set({ enabled: true, head_sampling_rate: 0.2 });
    await callOften("/levels", 500);
    await allTold();
    const kept = await readAllLogs(platform, "set");
    // Six standard deviations around 100.
    expect(kept.length).toBeGreaterThan(46);
    expect(kept.length).toBeLessThan(154);
    expect(kept.filter(({ logs }) => logs.length !== 5)).toEqual([]);
  });

  it("keep nothing if they say so for logs alone, and only what has lines without invocation_logs", async () => {
    await set({ enabled: true, logs: { enabled: false } });
    await callSet("/off?levels");
    await set({ enabled: true, logs: { enabled: true, head_sampling_rate: 0 } });
    await callSet("/off?rate");
    await set({ enabled: false, logs: { enabled: true, head_sampling_rate: 1 } });
    await callSet("/on");
    await set({ enabled: true, logs: { enabled: true, invocation_logs: false } });
    await callOften("/off?silent", 50);
    const found = await logged("set", await callSet("/levels"), 5);
    expect(found).toMatchObject({ outcome: "ok", status: 200 });
    await allTold();
    expect(await readLogs(platform, "set", { search: "/off" })).toEqual([]);
    expect(await readLogs(platform, "set", { search: "/on" })).toHaveLength(1);
  });

  it("keep URLs without what looks like a key, and without queries if redact_query_string", async () => {
    const key = "0123456789abcdef0123456789abcdef";
    await set({ enabled: true });
    const id = await callSet(`/levels?key=${key}&page=2`);
    expect(urlOf(await logged("set", id, 5))).toMatch(/\/levels\?key=REDACTED&page=2$/);
    await set({ enabled: true, redact_query_string: true });
    const other = await callSet(`/levels?page=2`);
    expect(urlOf(await logged("set", other, 5))).toMatch(/\/levels$/);
  });

  it("are refused with the name of the field that is wrong, in uploads as well", async () => {
    for (const [observability, field] of [
      [{ enabled: "yes" }, "observability.enabled"],
      [{ enabled: true, head_sampling_rate: 1.5 }, "observability.head_sampling_rate"],
      [
        { enabled: true, logs: { head_sampling_rate: -1 } },
        "observability.logs.head_sampling_rate",
      ],
      [{ enabled: true, logs: { destinations: ["s3"] } }, "observability.logs.destinations"],
      [{ enabled: true, sampling: 1 }, "observability.sampling"],
      [{ enabled: true, issues: { enabled: true } }, "observability.issues.enabled"],
    ] as const) {
      const script = `/accounts/${platform.accountId}/workers/scripts/set`;
      for (const answer of [
        await callApi(platform, "PATCH", `${script}/script-settings`, { observability }),
        await sendForm(platform, "PUT", script, { observability }),
      ]) {
        expect(answer).toMatchObject({ status: 400, code: 10021 });
        expect(answer.message).toContain(`${field}: `);
      }
    }
  });

  it("are shown as they were set", async () => {
    const observability = {
      enabled: true,
      head_sampling_rate: 0.5,
      logs: { enabled: true, head_sampling_rate: 1, invocation_logs: false },
    };
    await set(observability);
    expect(await account(platform, "GET", settings)).toMatchObject({ observability });
  });
});

describe("Logs", () => {
  it("have crons and messages, with what they were", async () => {
    const queueId = await createQueue(platform, "logged");
    await upload(platform, { name: "events", code: CODE, isolation: "shared", metadata: ENABLED });
    await account(platform, "PUT", "/workers/scripts/events/schedules", [{ cron: "0 0 1 1 *" }]);
    const consumer = { type: "worker", script_name: "events", settings: { max_wait_time_ms: 10 } };
    await account(platform, "POST", `/queues/${queueId}/consumers`, consumer);
    await beginRun(platform, "events", "0 0 1 1 *");
    await account(platform, "POST", `/queues/${queueId}/messages`, { body: { n: 1 } });
    const found = await logsWhen(platform, "events", {}, ({ length }) => length === 2);
    const of = (trigger: string): Logged | undefined =>
      found.find((invocation) => invocation.trigger === trigger);
    expect(of("scheduled")).toMatchObject({
      outcome: "ok",
      status: null,
      event: { cron: "0 0 1 1 *", scheduledTime: expect.any(Number) },
      logs: [{ message: ["a slot"] }],
    });
    expect(of("queue")).toMatchObject({
      outcome: "ok",
      event: { queue: "logged", batchSize: 1 },
      logs: [{ fields: { message: { n: 1 } } }],
    });
    expect(await readLogs(platform, "events", { field: "message.n=1" })).toHaveLength(1);
  });

  it("are read page by page, and go on with what is new", async () => {
    await upload(platform, { name: "pages", code: CODE, isolation: "request", metadata: ENABLED });
    const ids: string[] = [];
    for (let i = 0; i < 7; i++) ids.unshift(await call("pages", "/levels"));
    await logsWhen(platform, "pages", {}, ({ length }) => length === 7);
    const read = async (query: Record<string, string | number>) => {
      const response = await platform.fetchApi(logsPath(platform, "pages", query));
      return (await response.json()) as {
        result: Logged[];
        result_info: { count: number; cursor?: string; newer_cursor: string };
      };
    };
    const pages: string[][] = [];
    let cursor: string | undefined;
    do {
      const { result, result_info } = await read({ limit: 3, ...(cursor && { cursor }) });
      expect(result_info.count).toBe(result.length);
      pages.push(result.map(({ id }) => id));
      cursor = result_info.cursor;
    } while (cursor);
    expect(pages.flat()).toEqual(ids);
    expect(pages.slice(0, 2).map(({ length }) => length)).toEqual([3, 3]);

    const { newer_cursor } = (await read({})).result_info;
    expect((await read({ cursor: newer_cursor })).result).toEqual([]);
    const id = await call("pages", "/levels");
    await until(async () => (await read({ cursor: newer_cursor })).result.length === 1, 15_000);
    expect((await read({ cursor: newer_cursor })).result[0]?.id).toBe(id);
  });

  it("are of one account's script alone, and go with it", async () => {
    const hosts = { [platform.accountId]: "dev", [otherAccount.accountId]: "other" };
    const ids: Record<string, string> = {};
    for (const owner of [platform, otherAccount]) {
      await upload(owner, { name: "same", code: CODE, isolation: "shared", metadata: ENABLED });
      const { text } = await callWorker(platform, "same", "/levels", hosts[owner.accountId]);
      ids[owner.accountId] = text;
      await logsWhen(owner, "same", { invocation: text }, ({ length }) => length === 1);
    }
    for (const owner of [platform, otherAccount]) {
      const found = await readLogs(owner, "same");
      expect(found.map(({ id }) => id)).toEqual([ids[owner.accountId]]);
    }
    const script = `/accounts/${otherAccount.accountId}/workers/scripts/same`;
    expect(await callApi(platform, "DELETE", script)).toMatchObject({ status: 200 });
    const path = logsPath(otherAccount, "same");
    expect(await callApi(platform, "GET", path)).toMatchObject({ status: 404, code: 10007 });
    await upload(otherAccount, { name: "same", code: CODE, isolation: "shared" });
    expect(await readLogs(otherAccount, "same")).toEqual([]);
    expect(await readLogs(platform, "same")).toHaveLength(1);
  });

  it("refuse questions that mean nothing, with what would be right", async () => {
    for (const [query, message] of [
      [{ level: "fatal" }, /^level: got "fatal", must be one of debug, log, info, warn, error$/],
      [{ since: "yesterday" }, /^since: got "yesterday", must be a time such as/],
      [{ until: "1x" }, /^until: got "1x"/],
      [{ field: "=7" }, /^field: got "=7", must be such as "user\.id=7"/],
      [{ limit: 0 }, /^limit: got "0", must be a whole number from 1 to 1000$/],
      [{ cursor: "newer.x" }, /^cursor: got "newer\.x"/],
      [{ user: "me" }, /^user: no such parameter; there are script, since/],
      [{ search: "x".repeat(1001) }, /^search: got 1001 characters, must be at most 1000$/],
    ] as const) {
      const answer = await callApi(platform, "GET", logsPath(platform, "shared", query));
      expect(answer).toMatchObject({ status: 400, code: 10001 });
      expect(answer.message).toMatch(message);
    }
    const nobody = await callApi(platform, "GET", logsPath(platform, "nobody"));
    expect(nobody).toMatchObject({ status: 404, code: 10007 });
  });
});

describe("mayfly logs", () => {
  let id: string;
  beforeAll(async () => {
    await upload(platform, { name: "cli", code: CODE, isolation: "shared", metadata: ENABLED });
    await call("cli", "/fields");
    id = await call("cli", "/levels");
    await call("cli", "/throw");
    await logsWhen(platform, "cli", {}, (found) => {
      return found.length === 3 && found.every(({ logs }) => logs.length > 0);
    });
  });

  it("shows each invocation with its lines below it, the newest last", async () => {
    const { code, stdout, stderr } = await platform.mayfly(["logs", "cli"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const lines = stdout.split("\n");
    const at = lines.findIndex((line) => line.endsWith(id));
    expect(lines[at]).toMatch(
      /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} {2}ok {2}GET \/levels {2}200 {2}\d+ ms {2}[0-9a-f]{16}$/,
    );
    expect(lines[at + 2]).toMatch(/^ {2}\d\d:\d\d:\d\d\.\d{3} {2}log {4}a 1 true null null/);
    expect(lines[at + 4]).toMatch(/ warn {3}to warn$/);
    expect(stdout.indexOf("GET /fields")).toBeLessThan(stdout.indexOf("GET /levels"));
    expect(stdout).toMatch(/ exception {2}GET \/throw {2}500 /);
    expect(stdout).toMatch(/ error {2}RangeError: thrown on purpose\n {16,}\s*at .*index\.js:\d+/);
  });

  it("filters, and prints JSON lines", async () => {
    const args = ["logs", "cli", "--json", "--since", "1h", "--field", "user.id=7", "--limit", "5"];
    const { code, stdout } = await platform.mayfly(args);
    expect(code).toBe(0);
    const printed = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Logged);
    expect(printed.map(({ event }) => event)).toMatchObject([
      { request: { url: expect.stringMatching(/\/fields$/) } },
    ]);
    const one = await platform.mayfly(["logs", "cli", "--invocation", id, "--json"]);
    expect(JSON.parse(one.stdout)).toMatchObject({ id });
  });

  it("goes on with what is new with --follow, each line once", async () => {
    const cli = join(import.meta.dirname, "../src/host/cli.ts");
    const child = spawn(process.execPath, [cli, "logs", "cli", "--follow", "--search", "o"], {
      env: { ...process.env, PORT: String(platform.port), MAYFLY_DATA: platform.dataDir },
    });
    let printed = "";
    child.stdout.on("data", (piece: Buffer) => (printed += piece.toString()));
    const count = (text: string): number => printed.split(text).length - 1;
    try {
      await until(() => count("to warn") === 1, 15_000);
      const late = await call("cli", "/late");
      await until(() => count("latest") === 1, 15_000);
      await call("cli", "/nothing-to-be-found");
      await call("cli", "/levels");
      await until(() => count("to warn") === 2, 15_000);
      for (const text of ["soon", "later", "latest"]) expect(count(text)).toBe(1);
      expect(count(late)).toBeGreaterThanOrEqual(1);
    } finally {
      child.kill();
    }
  });

  it("ends with 1 for what the API refuses and with 2 for what is no command", async () => {
    const unknown = await platform.mayfly(["logs", "nobody"]);
    expect(unknown).toMatchObject({ code: 1, stdout: "" });
    expect(unknown.stderr).toContain('This Worker does not exist on your account: "nobody"');
    expect(await platform.mayfly(["logs", "cli", "--level", "all"])).toMatchObject({ code: 1 });
    expect(await platform.mayfly(["logs", "cli", "--limit", "none"])).toMatchObject({ code: 1 });
    expect(await platform.mayfly(["logs"])).toMatchObject({ code: 2 });
    expect(await platform.mayfly(["usage", "--follow"])).toMatchObject({ code: 2 });
  });
});
