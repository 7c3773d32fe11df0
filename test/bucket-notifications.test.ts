import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { callApi, type Answer } from "./harness/api.ts";
import { deploy } from "./harness/deploy.ts";
import { type CommandResult, type Platform, startPlatform } from "./harness/platform.ts";
import { until } from "./harness/processes.ts";
import { fetchWorker } from "./harness/worker-fetch.ts";

// What queues are told of changes in buckets, by commands and bindings as users have them.
let platform: Platform;
let project: string;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "mayfly-notifications-"));
  platform = await startPlatform();
});

afterAll(async () => {
  await platform?.stop();
  await rm(project, { recursive: true, force: true });
});

const CREATE = ["PutObject", "CompleteMultipartUpload", "CopyObject"];
const DELETE = ["DeleteObject", "LifecycleDeletion"];

const run = (...args: string[]): Promise<CommandResult> =>
  platform.wrangler(args, { cwd: project });

async function wrangler(...args: string[]): Promise<string> {
  const result = await run(...args);
  expect(result.code, result.stdout + result.stderr).toBe(0);
  return result.stdout;
}

const api = (method: string, path: string, body?: unknown): Promise<Answer> =>
  callApi(platform, method, `/accounts/${platform.accountId}${path}`, body);

async function ok(method: string, path: string, body?: unknown): Promise<Answer["result"]> {
  const { status, message, result } = await api(method, path, body);
  expect(status, message).toBe(200);
  return result;
}

/** A bucket and a queue whose messages can be pulled, both of this name. */
async function makeBucketAndQueue(name: string): Promise<{ queueId: string; rules: string }> {
  await ok("POST", "/r2/buckets", { name });
  const queueId = await makeQueue(name);
  return { queueId, rules: `/event_notifications/r2/${name}/configuration/queues/${queueId}` };
}

async function makeQueue(name: string): Promise<string> {
  const { queue_id: queueId } = await ok("POST", "/queues", { queue_name: name });
  await ok("POST", `/queues/${queueId}/consumers`, { type: "http_pull" });
  return queueId as string;
}

const putObject = (bucket: string, key: string, body: string): Promise<Response> =>
  platform.fetchApi(`/accounts/${platform.accountId}/r2/buckets/${bucket}/objects/${key}`, {
    method: "PUT",
    body,
  });

interface Message {
  id: string;
  contentType: string;
  // Whatever the test expects it to be.
  // oxlint-disable-next-line typescript/no-explicit-any
  body: any;
}

/** Takes what is in the queue out of it. */
async function pull(queueId: string): Promise<Message[]> {
  const { messages } = await ok("POST", `/queues/${queueId}/messages/pull`, { batch_size: 100 });
  const pulled = messages as {
    id: string;
    lease_id: string;
    body: string;
    metadata: Record<string, string>;
  }[];
  if (pulled.length > 0) {
    const acks = pulled.map(({ lease_id }) => ({ lease_id }));
    await ok("POST", `/queues/${queueId}/messages/ack`, { acks });
  }
  return pulled.map(({ id, body, metadata }) => ({
    id,
    contentType: metadata["CF-Content-Type"] ?? "",
    body: JSON.parse(Buffer.from(body, "base64").toString()),
  }));
}

/** The next messages of the queue, as many as are expected, and any more that are there. */
async function take(queueId: string, count: number): Promise<Message[]> {
  const taken: Message[] = [];
  await until(async () => {
    taken.push(...(await pull(queueId)));
    return taken.length >= count;
  }, 10_000);
  return taken;
}

/** Each message as "action key". */
const told = (messages: Message[]): string[] =>
  messages.map(({ body }) => `${body.action} ${body.object.key}`);

it("r2 bucket notification create, list and delete manage rules", async () => {
  await wrangler("r2", "bucket", "create", "managed");
  await wrangler("queues", "create", "managed-queue");
  const notification = (command: string): Promise<string> =>
    wrangler("r2", "bucket", "notification", ...command.split(" "));
  await notification(
    "create managed --queue managed-queue --event-type object-create --prefix images/ --suffix .png --description pictures",
  );
  await notification("create managed --queue managed-queue --event-types object-delete");
  const listed = await notification("list managed");
  expect(listed).toMatch(/prefix: +images\//);
  expect(listed).toMatch(/event_type: +DeleteObject,LifecycleDeletion/);

  const configuration = "/event_notifications/r2/managed/configuration";
  const { bucketName, queues } = await ok("GET", configuration);
  expect(bucketName).toBe("managed");
  expect(queues).toEqual([
    {
      queueId: expect.stringMatching(/^[\da-f]{32}$/) as string,
      queueName: "managed-queue",
      rules: [
        {
          ruleId: expect.stringMatching(/^[\da-f-]{36}$/) as string,
          createdAt: expect.stringMatching(/^\d{4}-.*Z$/) as string,
          prefix: "images/",
          suffix: ".png",
          actions: CREATE,
          description: "pictures",
        },
        expect.objectContaining({ prefix: "", suffix: "", actions: DELETE }),
      ],
    },
  ]);
  expect(await ok("GET", `${configuration}/queues/${queues[0].queueId}`)).toEqual(queues[0]);
  expect(await wrangler("queues", "info", "managed-queue")).toContain("r2_bucket:managed");

  const [{ ruleId }] = queues[0].rules;
  await notification(`delete managed --queue managed-queue --rule ${ruleId}`);
  expect((await ok("GET", configuration)).queues[0].rules).toHaveLength(1);
  await notification("delete managed --queue managed-queue");
  expect(await api("GET", configuration)).toMatchObject({ status: 404, code: 11015 });
});

it("rules that are wrong are refused with what is wrong about them", async () => {
  const { rules } = await makeBucketAndQueue("strict");
  const put = (rule: Record<string, unknown>): Promise<Answer> =>
    api("PUT", rules, { rules: [{ actions: CREATE, ...rule }] });
  expect((await put({ prefix: "a/", suffix: ".png" })).status).toBe(200);

  const overlapping = await put({ prefix: "a/b/" });
  expect(overlapping).toMatchObject({ status: 409, code: 11020 });
  expect(overlapping.message).toContain('prefix "a/b/"');
  const command = ["r2", "bucket", "notification", "create", "strict", "--queue", "strict"];
  const repeated = await run(...command, "--event-type", "object-create", "--prefix", "a/");
  expect(repeated.code).not.toBe(0);
  expect(repeated.stdout + repeated.stderr).toContain("11020");
  // None of these has a key and an action in common with the first.
  expect((await put({ prefix: "a/b/", suffix: ".jpg" })).status).toBe(200);
  expect((await put({ prefix: "b/" })).status).toBe(200);
  expect((await put({ prefix: "a/", actions: DELETE })).status).toBe(200);
  const otherQueue = rules.replace(/[^/]+$/, await makeQueue("strict-other"));
  expect((await api("PUT", otherQueue, { rules: [{ actions: CREATE }] })).status).toBe(200);

  expect(await put({ actions: ["Rename"] })).toMatchObject({
    code: 11014,
    message: expect.stringContaining("rules.0.actions.0") as string,
  });
  expect(await put({ actions: [] })).toMatchObject({ code: 11014 });
  expect(await put({ prefix: "p".repeat(1025) })).toMatchObject({ code: 11014 });
  const many = Array.from({ length: 96 }, (_, n) => ({ prefix: `many-${n}/`, actions: CREATE }));
  expect(await api("PUT", rules, { rules: many })).toMatchObject({
    code: 11014,
    message: expect.stringContaining("at most 100") as string,
  });

  expect(await api("PUT", rules.replace("strict", "nowhere"), { rules: [] })).toMatchObject({
    status: 404,
    code: 10085,
  });
  const noQueue = rules.replace(/[^/]+$/, "0".repeat(32));
  expect(await api("PUT", noQueue, { rules: [] })).toMatchObject({ status: 404, code: 11000 });
  expect(await api("DELETE", rules, { ruleIds: ["none"] })).toMatchObject({ code: 11011 });
  await ok("DELETE", rules);
  expect(await api("DELETE", rules)).toMatchObject({ status: 404, code: 11011 });
});

it("a queue is told of objects put and deleted through the API, as Cloudflare tells it", async () => {
  const { queueId, rules } = await makeBucketAndQueue("told");
  await ok("PUT", rules, { rules: [{ actions: [...CREATE, ...DELETE] }] });
  const before = Date.now();
  await writeFile(join(project, "note.txt"), "hello");
  await wrangler("r2", "object", "put", "told/folder/note.txt", "--file", "note.txt", "--remote");
  const [put] = await take(queueId, 1);
  expect(put).toEqual({
    id: expect.stringMatching(/^[\da-f]{32}$/) as string,
    contentType: "json",
    body: {
      account: platform.accountId,
      bucket: "told",
      eventTime: expect.stringMatching(/^\d{4}-.*Z$/) as string,
      action: "PutObject",
      object: { key: "folder/note.txt", size: 5, eTag: "5d41402abc4b2a76b9719d911017c592" },
    },
  });
  expect(Math.abs(Date.parse(put?.body.eventTime as string) - before)).toBeLessThan(60_000);

  await wrangler("r2", "object", "delete", "told/folder/note.txt", "--remote");
  const [deleted] = await take(queueId, 1);
  expect(deleted?.body).toMatchObject({ action: "DeleteObject", bucket: "told" });
  expect(deleted?.body.object).toEqual({ key: "folder/note.txt" });
  expect(deleted?.id).not.toBe(put?.id);
});

it("a queue is told of what workers do with the bucket, and of nothing that they did not do", async () => {
  const { queueId, rules } = await makeBucketAndQueue("bound");
  await ok("PUT", rules, { rules: [{ actions: [...CREATE, ...DELETE] }] });
  const main = join(project, "writer.js");
  await writeFile(main, WRITER);
  const address = await deploy(platform, {
    name: "writer",
    main,
    r2_buckets: [{ binding: "BUCKET", bucket_name: "bound" }],
  });
  const say = async (path: string): Promise<string> =>
    (await fetchWorker(new URL(path, address))).text();

  expect(await say("/put")).toBe("null");
  expect(told(await take(queueId, 2))).toEqual(["PutObject a", "PutObject a"]);

  expect(await say("/stream")).toBe("3000000");
  const [streamed] = await take(queueId, 1);
  expect(streamed?.body).toMatchObject({ action: "PutObject", object: { size: 3_000_000 } });

  expect(await say("/multipart")).toMatch(/^put: .*MD5/);
  const [completed] = await take(queueId, 1);
  expect(completed?.body).toMatchObject({
    action: "CompleteMultipartUpload",
    object: { key: "large", size: 5 * 1024 * 1024 + 1 },
  });
  expect(completed?.body.object.eTag).toMatch(/^[\da-f]{32}-2$/);

  expect(await say("/delete")).toBe("1000");
  const deleted = told(await take(queueId, 2)).toSorted();
  expect(deleted).toEqual(["DeleteObject a", "DeleteObject large"]);
  // What comes last says that nothing else was under way.
  await putObject("bound", "last", "");
  expect(told(await take(queueId, 1))).toEqual(["PutObject last"]);
});

const WRITER = `
export default {
  async fetch(request, { BUCKET }) {
    const { pathname } = new URL(request.url);
    if (pathname === "/put") {
      await BUCKET.put("a", "1");
      await BUCKET.put("a", "22", { onlyIf: { etagDoesNotMatch: "none" } });
      return Response.json(await BUCKET.put("a", "333", { onlyIf: { etagMatches: "none" } }));
    }
    if (pathname === "/stream") {
      const { readable, writable } = new FixedLengthStream(3_000_000);
      const [object] = await Promise.all([
        BUCKET.put("streamed", readable),
        new Response("x".repeat(3_000_000)).body.pipeTo(writable),
      ]);
      return Response.json(object.size);
    }
    if (pathname === "/multipart") {
      const upload = await BUCKET.createMultipartUpload("large");
      const parts = [
        await upload.uploadPart(1, new Uint8Array(5 * 1024 * 1024)),
        await upload.uploadPart(2, "x"),
      ];
      await upload.complete(parts);
      await (await BUCKET.createMultipartUpload("given-up")).abort();
      try {
        await BUCKET.put("refused", "1", { md5: "0".repeat(32) });
      } catch (error) {
        return new Response(error.message);
      }
    }
    if (pathname === "/delete") {
      const keys = ["a", "large", ...Array.from({ length: 998 }, (_, n) => "missing-" + n)];
      await BUCKET.delete(keys);
      return new Response(String(keys.length));
    }
    return new Response("not found", { status: 404 });
  },
};
`;

it("each queue is told what its rules ask for, from the moment they are set", async () => {
  const { queueId, rules } = await makeBucketAndQueue("sorted");
  const otherId = await makeQueue("sorted-other");
  const otherRules = rules.replace(queueId, otherId);
  await putObject("sorted", "a/0.png", "before");
  await ok("PUT", rules, { rules: [{ prefix: "a/", suffix: ".png", actions: CREATE }] });
  await ok("PUT", rules, { rules: [{ prefix: "b/", actions: CREATE }] });
  await ok("PUT", otherRules, { rules: [{ suffix: ".png", actions: [...CREATE, ...DELETE] }] });
  for (const key of ["a/1.png", "a/1.jpg", "b/1.jpg", "b/2.png", "c.png", "c.jpg"]) {
    expect((await putObject("sorted", key, "x")).status).toBe(200);
  }
  await ok("DELETE", "/r2/buckets/sorted/objects/a/1.png");
  expect(told(await take(queueId, 3))).toEqual([
    "PutObject a/1.png",
    "PutObject b/1.jpg",
    "PutObject b/2.png",
  ]);
  expect(told(await take(otherId, 4))).toEqual([
    "PutObject a/1.png",
    "PutObject b/2.png",
    "PutObject c.png",
    "DeleteObject a/1.png",
  ]);

  await ok("DELETE", otherRules);
  await putObject("sorted", "b/3.png", "x");
  expect(told(await take(queueId, 1))).toEqual(["PutObject b/3.png"]);
  expect(await pull(otherId)).toEqual([]);
});

it("many changes of one key at once are each told", async () => {
  const { queueId, rules } = await makeBucketAndQueue("contended");
  await ok("PUT", rules, { rules: [{ actions: [...CREATE, ...DELETE] }] });
  const puts = Array.from({ length: 30 }, (_, n) => putObject("contended", "key", "x".repeat(n)));
  for (const answer of await Promise.all(puts)) expect(answer.status).toBe(200);
  const messages = await take(queueId, 30);
  const sizes = messages.map(({ body }) => body.object.size as number);
  expect(sizes.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, n) => n));
});

it("a queue that is told of a bucket can be deleted once it is not", async () => {
  const { rules } = await makeBucketAndQueue("attached");
  await ok("PUT", rules, { rules: [{ actions: CREATE }] });
  const refused = await run("queues", "delete", "attached");
  expect(refused.code).not.toBe(0);
  expect(refused.stdout + refused.stderr).toContain("attached");
  await ok("DELETE", rules);
  await wrangler("queues", "delete", "attached");
  expect((await putObject("attached", "key", "x")).status).toBe(200);
});

it("a bucket can be deleted with its rules, and its last notifications still come", async () => {
  const { queueId, rules } = await makeBucketAndQueue("leaving");
  await ok("PUT", rules, { rules: [{ actions: [...CREATE, ...DELETE] }] });
  await putObject("leaving", "only", "x");
  await ok("DELETE", "/r2/buckets/leaving/objects/only");
  await wrangler("r2", "bucket", "delete", "leaving");
  expect(told(await take(queueId, 2))).toEqual(["PutObject only", "DeleteObject only"]);
  // A new bucket of the same name begins without rules.
  await ok("POST", "/r2/buckets", { name: "leaving" });
  expect(await api("GET", rules)).toMatchObject({ code: 11011 });
});

/** A lifecycle rule that deletes what begins with the prefix. */
const deletion = (prefix: string, condition: unknown) => ({
  id: prefix,
  enabled: true,
  conditions: { prefix },
  deleteObjectsTransition: { condition },
});

it("objects whose lifecycle is over are deleted, and queues are told", async () => {
  const { queueId, rules } = await makeBucketAndQueue("aging");
  await ok("PUT", rules, { rules: [{ actions: DELETE }] });
  const keys = Array.from({ length: 250 }, (_, n) => `logs/${String(n).padStart(3, "0")}`);
  for (let at = 0; at < keys.length; at += 25) {
    await Promise.all(keys.slice(at, at + 25).map((key) => putObject("aging", key, "x")));
  }
  await Promise.all(["old/x", "keep/x", "other"].map((key) => putObject("aging", key, "x")));
  const lifecycle = [
    deletion("logs/", { type: "Age", maxAge: 1 }),
    deletion("old/", { type: "Date", date: "2020-01-01" }),
    deletion("other", { type: "Date", date: "2999-01-01" }),
    { ...deletion("keep/", { type: "Age", maxAge: 0 }), enabled: false },
  ];
  const oldEnoughAt = Date.now() + 1000;
  await until(() => Date.now() > oldEnoughAt, 2000);
  await writeFile(join(project, "lifecycle.json"), JSON.stringify({ rules: lifecycle }));
  await wrangler("r2", "bucket", "lifecycle", "set", "aging", "--file", "lifecycle.json", "-y");
  const deleted = await take(queueId, keys.length + 1);
  expect(told(deleted).toSorted()).toEqual(
    [...keys, "old/x"].map((key) => `LifecycleDeletion ${key}`),
  );
  expect(deleted[0]?.body.object).toEqual({ key: expect.any(String) as string });
  const left = (await ok("GET", "/r2/buckets/aging/objects")) as { key: string }[];
  expect(left.map(({ key }) => key)).toEqual(["keep/x", "other"]);
});
