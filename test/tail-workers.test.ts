import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callApi, type Answer } from "./harness/api.ts";
import { beginRun, createNamespace } from "./harness/cron.ts";
import { wranglerWith, type Config } from "./harness/deploy.ts";
import { succeeds } from "./harness/expect-command.ts";
import { startPlatform, type CommandResult, type Platform } from "./harness/platform.ts";
import { until } from "./harness/processes.ts";
import { account, createQueue } from "./harness/queue.ts";
import { lookOn, type Item } from "./harness/tail.ts";
import { upload } from "./harness/upload.ts";

const TAIL_WORKER = join(import.meta.dirname, "workers/tail-worker/index.js");
const NAME = join(import.meta.dirname, "workers/name/index.js");
const CRON = "0 0 1 1 *";
const KEY = "0123456789abcdef0123456789abcdef";

const PRODUCER = `
import { WorkerEntrypoint } from "cloudflare:workers";
export class Calc extends WorkerEntrypoint {
  add(a, b) {
    console.log("add", a);
    return a + b;
  }
}
export default {
  async fetch(request, env) {
    const path = new URL(request.url).pathname;
    console.log("fetch", path);
    if (path === "/throw") throw new RangeError("too far");
    if (path === "/sum") return new Response(String(await env.SELF.add(1, 2)));
    if (path === "/fail") console.log("fail, tail");
    return new Response("done");
  },
  scheduled() {
    console.log("scheduled");
  },
  queue({ messages }) {
    console.log("queue", messages.length);
  },
};`;

/** What the tail worker keeps of an invocation. */
interface Told {
  item: Item;
  unredacted?: { url: string; headers: Record<string, string> };
}

let platform: Platform;
let kv: string;

const script = (name: string): string => `/workers/scripts/${name}`;
const api = (method: string, path: string, body?: unknown): Promise<Answer> =>
  callApi(platform, method, `/accounts/${platform.accountId}${path}`, body);
const wrangler = (config: Config, ...args: string[]): Promise<CommandResult> =>
  wranglerWith(platform, { workers_dev: true, ...config }, args);
const callOf = async (name: string, path: string, headers = {}): Promise<number> => {
  const response = await platform.fetchHost(`${name}.dev.localhost`, path, { headers });
  await response.arrayBuffer();
  return response.status;
};

/** All that the tail worker was told of the script, oldest first. */
async function toldOf(scriptName: string): Promise<Told[]> {
  const response = await platform.fetchHost("watcher.dev.localhost");
  return ((await response.json()) as Told[][])
    .flat()
    .filter(({ item }) => item.scriptName === scriptName)
    .sort((a, b) => a.item.eventTimestamp - b.item.eventTimestamp);
}

/** The same when it was told of so many, and of no more a moment later. */
async function toldOfAll(scriptName: string, count: number): Promise<Told[]> {
  await until(async () => (await toldOf(scriptName)).length >= count, 15_000);
  await sleep(300);
  const told = await toldOf(scriptName);
  expect(told).toHaveLength(count);
  return told;
}

beforeAll(async () => {
  platform = await startPlatform({ env: { MAYFLY_EXECUTORS: "2" } });
  kv = await createNamespace(platform, "told");
  const watcher = {
    name: "watcher",
    main: TAIL_WORKER,
    kv_namespaces: [{ binding: "KV", id: kv }],
  };
  await succeeds(wrangler(watcher, "deploy"));
});
afterAll(() => platform?.stop());

const deployProducer = (name: string, isolation: "shared" | "request"): Promise<void> =>
  upload(platform, {
    name,
    code: PRODUCER,
    isolation,
    metadata: {
      tail_consumers: [{ service: "watcher" }],
      annotations: { "workers/tag": "v1" },
      bindings: [{ type: "service", name: "SELF", service: name, entrypoint: "Calc" }],
    },
  });

const pathOf = ({ item }: Told): string => new URL(item.event.request.url).pathname;

describe.each(["shared", "request"] as const)("a tail worker of a %s worker", (isolation) => {
  const name = `${isolation}-producer`;

  it("is told of each request once, with its lines, exceptions and secrets redacted", async () => {
    await deployProducer(name, isolation);
    const headers = { cookie: "a=b", authorization: "Bearer x", "x-plain": "plain" };
    expect(await callOf(name, `/ok?key=${KEY}`, headers)).toBe(200);
    expect(await callOf(name, "/throw")).toBe(500);
    await Promise.all(Array.from({ length: 50 }, (_, index) => callOf(name, `/${index}`)));

    const told = await toldOfAll(name, 52);
    for (const one of told) {
      expect(one.item.logs.map(({ message }) => message)).toEqual([["fetch", pathOf(one)]]);
    }
    const ok = told.find((one) => pathOf(one) === "/ok");
    expect(ok?.item).toMatchObject({
      outcome: "ok",
      scriptName: name,
      scriptVersion: { tag: "v1" },
      truncated: false,
      executionModel: "stateless",
      exceptions: [],
      diagnosticsChannelEvents: [],
      event: {
        request: {
          url: `http://${name}.dev.localhost:${platform.port}/ok?key=REDACTED`,
          method: "GET",
          headers: { cookie: "REDACTED", authorization: "REDACTED", "x-plain": "plain" },
        },
        response: { status: 200 },
      },
    });
    expect(ok?.unredacted).toMatchObject({
      url: `http://${name}.dev.localhost:${platform.port}/ok?key=${KEY}`,
      headers,
    });
    expect(told.find((one) => pathOf(one) === "/throw")?.item).toMatchObject({
      outcome: "exception",
      exceptions: [
        {
          name: "RangeError",
          message: "too far",
          stack: expect.stringMatching(/^\s+at .*index\.js:\d+/),
        },
      ],
    });
  });

  it("is told of calls, crons and batches", async () => {
    const before = (await toldOf(name)).length;
    const queueId = await createQueue(platform, `${isolation}-jobs`);
    await account(platform, "PUT", `${script(name)}/schedules`, [{ cron: CRON }]);
    await account(platform, "POST", `/queues/${queueId}/consumers`, {
      type: "worker",
      script_name: name,
      settings: { batch_size: 2, max_wait_time_ms: 0 },
    });
    expect(await callOf(name, "/sum")).toBe(200);
    const messages = [{ body: 1 }, { body: 2 }];
    await account(platform, "POST", `/queues/${queueId}/messages/batch`, { messages });
    await beginRun(platform, name, CRON);

    const told = (await toldOfAll(name, before + 4)).slice(before).map(({ item }) => item);
    const ofKind = (member: string): Item | undefined => told.find(({ event }) => member in event);
    expect(ofKind("rpcMethod")).toMatchObject({
      entrypoint: "Calc",
      event: { rpcMethod: "add" },
      logs: [{ message: ["add", 1] }],
    });
    expect(ofKind("cron")).toMatchObject({
      event: { cron: CRON, scheduledTime: expect.any(Number) },
      logs: [{ message: ["scheduled"] }],
    });
    expect(ofKind("queue")).toMatchObject({
      event: { queue: `${isolation}-jobs`, batchSize: 2 },
      logs: [{ message: ["queue", 2] }],
    });
  });
});

it("a tail handler that throws is not asked again, and harms nobody", async () => {
  await deployProducer("careless", "shared");
  const { messages, socket } = await lookOn(platform, "watcher");
  expect(await callOf("careless", "/fail")).toBe(200);
  await toldOfAll("careless", 1);
  // Its own invocation is one like any other, and is told to no tail worker.
  await until(() => messages.some(({ outcome }) => outcome === "exception"), 5_000);
  expect(messages.filter(({ event }) => "consumedEvents" in event)).toEqual([
    expect.objectContaining({
      scriptName: "watcher",
      event: { consumedEvents: [{ scriptName: "careless" }] },
      exceptions: [expect.objectContaining({ message: "as it was told" })],
    }),
  ]);
  socket.close();
});

const consumers = (service: string): object => ({ tail_consumers: [{ service }] });

it("tail workers that watch each other are told of requests, and of nothing that tail() does", async () => {
  const code =
    "export default { fetch: () => new Response('ok'), tail() { console.log('told'); } };";
  await upload(platform, { name: "mirror", code, isolation: "shared" });
  await account(platform, "PATCH", `${script("mirror")}/script-settings`, consumers("watcher"));
  await account(platform, "PATCH", `${script("watcher")}/script-settings`, consumers("mirror"));
  const { messages, socket } = await lookOn(platform, "mirror");

  expect(await callOf("mirror", "/")).toBe(200);
  await toldOfAll("mirror", 1);
  // What has been asked of the watcher until now.
  await until(() => messages.some(({ event }) => "consumedEvents" in event), 5_000);
  await sleep(500);
  const told = await toldOf("mirror");
  expect(told.map(({ item }) => Object.keys(item.event))).toEqual([["request", "response"]]);
  socket.close();
  await account(platform, "PATCH", `${script("watcher")}/script-settings`, { tail_consumers: [] });
});

const consumersOf = async (name: string): Promise<unknown> =>
  (await api("GET", `${script(name)}/script-settings`)).result.tail_consumers;

describe("wrangler", () => {
  const producer = { name: "producer", main: NAME, vars: { NAME: "producer" } };

  it("sets and removes tail consumers with the configuration", async () => {
    const tail_consumers = [{ service: "watcher" }];
    await succeeds(wrangler({ ...producer, tail_consumers }, "deploy"));
    expect(await consumersOf("producer")).toEqual(tail_consumers);
    const { result } = await api("GET", `${script("producer")}/settings`);
    expect(result.tail_consumers).toEqual(tail_consumers);
    await callOf("producer", "/");
    await toldOfAll("producer", 1);

    // As on Cloudflare, a configuration that says nothing of them leaves them.
    await succeeds(wrangler({ ...producer, tail_consumers: [] }, "deploy"));
    expect(await consumersOf("producer")).toEqual([]);
    await callOf("producer", "/");
    await toldOfAll("producer", 1);
  });

  it("is told which consumer is wrong, before anything is deployed", async () => {
    const path = `/accounts/${platform.accountId}${script("wrong")}`;
    const put = async (metadata: Record<string, unknown>): Promise<Answer> => {
      try {
        const code = "export default { fetch: () => new Response() };";
        await upload(platform, { name: "wrong", code, isolation: "shared", metadata });
      } catch (error) {
        return { message: String(error) } as Answer;
      }
      return callApi(platform, "GET", path);
    };
    const refused: [Record<string, unknown>, string][] = [
      [{ tail_consumers: [{ service: "nobody" }] }, "10203 tail_consumers.0.service: got"],
      [{ tail_consumers: [{ service: "producer" }] }, "10021 tail_consumers.0.service: got"],
      [{ tail_consumers: [{ service: "wrong" }] }, "another Worker of the account"],
      [{ tail_consumers: [{}] }, "10021 tail_consumers.0.service"],
      [{ streaming_tail_consumers: [{ service: "watcher" }] }, "streaming_tail_consumers"],
    ];
    for (const [metadata, expected] of refused) {
      expect((await put(metadata)).message).toContain(expected);
    }
    expect(await api("GET", `${script("wrong")}/script-settings`)).toMatchObject({ code: 10007 });
  });

  it("of another account cannot have our tail worker, nor see what it is told", async () => {
    const { result: other } = await callApi(platform, "POST", "/accounts", {
      name: "Other",
      subdomain: "other",
    });
    const theirs = { ...platform, accountId: other.id as string };
    const metadata = { tail_consumers: [{ service: "watcher" }] };
    const code = "export default { fetch: () => new Response('ok') };";
    const sent = upload(theirs, { name: "theirs", code, isolation: "shared", metadata });
    await expect(sent).rejects.toThrow("10203");

    // With a tail worker of the same name they are told of their own.
    const tailCode = "export default { tail() {}, fetch: () => new Response('ok') };";
    await upload(theirs, { name: "watcher", code: tailCode, isolation: "shared" });
    await upload(theirs, { name: "theirs", code, isolation: "shared", metadata });
    const { messages, socket } = await lookOn(theirs, "watcher");
    await (await platform.fetchHost("theirs.other.localhost")).arrayBuffer();
    await until(() => messages.length === 1, 10_000);
    expect(messages[0]?.event).toEqual({ consumedEvents: [{ scriptName: "theirs" }] });
    expect(await toldOf("theirs")).toEqual([]);
    socket.close();
  });

  it("warns before it deletes a tail worker, and the producer goes on without", async () => {
    const refused = await api("DELETE", script("watcher"));
    expect(refused).toMatchObject({ status: 400, code: 10064 });
    expect(refused.message).toContain("shared-producer");
    const { code, stdout, stderr } = await platform.wrangler(["delete", "--name", "watcher"], {
      cwd: platform.dataDir,
    });
    expect(code, stderr).toBe(0);
    expect(stdout).toContain(
      "Worker shared-producer (production) uses this Worker as a Tail Worker",
    );
    expect(await callOf("shared-producer", "/after")).toBe(200);
  });
});
