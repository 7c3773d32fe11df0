import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort, runNode, type CommandResult } from "./harness/platform.ts";
import { succeeds } from "./harness/expect-command.ts";
import { until } from "./harness/processes.ts";

const ROOT = dirname(import.meta.dirname);
const WRANGLER = join(ROOT, "node_modules/wrangler/bin/wrangler.js");
const CONSUMER = `
  function describe(body) {
    if (body instanceof Uint8Array) return "bytes Uint8Array " + body;
    if (body instanceof Map) return "map " + [...body].map(([key, date]) => key + "=" + date.getTime());
    if (typeof body === "object") return "json " + JSON.stringify(body);
    return body.length > 1000 ? "large " + body.slice(0, -120_000) : "text " + body;
  }
  export default {
    async queue(batch, env) {
      await Promise.all(batch.messages.map(({ body }) => env.SEEN.put(describe(body), "")));
    },
  };`;
const ACCOUNT = "0123456789abcdef0123456789abcdef";
const TOKEN = "native-queue-test";

const folder = mkdtempSync(join(tmpdir(), "mayfly-native-"));
let port: number;
let child: ChildProcess;
let output = "";
let namespaceId: string;

const quiet = {
  CI: "1",
  NO_COLOR: "1",
  WRANGLER_SEND_METRICS: "false",
  XDG_CONFIG_HOME: folder,
  WRANGLER_LOG_PATH: join(folder, "logs"),
};

/** The platform's own configuration, as someone would write it who consumes native queues. */
function writePlatform(): string {
  mkdirSync(join(folder, "platform"));
  const config = readFileSync(join(ROOT, "wrangler.toml"), "utf8")
    .replace('main = "src/index.ts"', `main = ${JSON.stringify(join(ROOT, "src/index.ts"))}`)
    // The suite has built what this builds.
    .replace(/^\[build\]\n(?:\w.*\n)+/m, "");
  const consumers = ["products", "nowhere"].map(
    (queue) =>
      `[[queues.consumers]]\nqueue = "${queue}"\nmax_batch_size = 100\nmax_batch_timeout = 1\n`,
  );
  const vars = {
    MAYFLY_RUNTIME: "workerd",
    MAYFLY_PORT: String(port),
    MAYFLY_TOKEN: TOKEN,
    MAYFLY_ACCOUNT_ID: ACCOUNT,
    MAYFLY_SECRETS_KEY: Buffer.alloc(32, 1).toString("base64"),
  };
  const lines = Object.entries(vars).map(([name, value]) => `${name}="${value}"\n`);
  writeFileSync(join(folder, "platform/.dev.vars"), lines.join(""));
  const file = join(folder, "platform/wrangler.toml");
  writeFileSync(file, `${config}\n${consumers.join("\n")}`);
  return file;
}

/** A Worker beside the platform that sends to native queues, and lets all else through to it. */
function writeProducer(): string {
  mkdirSync(join(folder, "producer"));
  const code = `
    const bodies = {
      text: "a text",
      json: { name: "Ada", tags: ["x", null], nested: { n: 1.5 } },
      bytes: new Uint8Array([0, 1, 255]),
      v8: new Map([["at", new Date(5)]]),
    };
    export default {
      async fetch(request, env) {
        const { pathname, searchParams } = new URL(request.url);
        if (pathname === "/produce/kinds") {
          for (const [contentType, body] of Object.entries(bodies)) {
            await env.PRODUCTS.send(body, { contentType });
          }
        } else if (pathname === "/produce/large") {
          const body = "x".repeat(120_000);
          const count = Number(searchParams.get("count"));
          const send = (i) => env.PRODUCTS.send(i + body, { contentType: "text" });
          await Promise.all(Array.from({ length: count }, (_, i) => send(i)));
        } else if (pathname === "/produce/nowhere") {
          await env.NOWHERE.send("found at last", { contentType: "text" });
        } else {
          return env.MAYFLY.fetch(request);
        }
        return new Response("sent");
      },
    };`;
  writeFileSync(join(folder, "producer/index.js"), code);
  const file = join(folder, "producer/wrangler.json");
  const config = {
    name: "producer",
    main: "index.js",
    compatibility_date: "2026-07-01",
    services: [{ binding: "MAYFLY", service: "mayfly" }],
    queues: {
      producers: [
        { binding: "PRODUCTS", queue: "products" },
        { binding: "NOWHERE", queue: "nowhere" },
      ],
    },
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}

/** wrangler, as a user of the platform. */
const wrangler = (...args: string[]): Promise<CommandResult> =>
  runNode([WRANGLER, ...args], {
    cwd: join(folder, "consumer"),
    env: {
      ...quiet,
      CLOUDFLARE_API_BASE_URL: `http://localhost:${port}/client/v4`,
      CLOUDFLARE_API_TOKEN: TOKEN,
      CLOUDFLARE_ACCOUNT_ID: ACCOUNT,
    },
  });

beforeAll(async () => {
  port = await freePort();
  const args = ["dev", "-c", writeProducer(), "-c", writePlatform()];
  const options = ["--port", String(port), "--inspector-port", "0", "--persist-to", folder];
  child = spawn(process.execPath, [WRANGLER, ...args, ...options], {
    cwd: folder,
    env: { ...process.env, ...quiet },
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  await until(() => output.includes("Ready on"), 50_000);
  mkdirSync(join(folder, "consumer"));
  writeFileSync(join(folder, "consumer.js"), CONSUMER);
  const namespace = { title: "seen" };
  namespaceId = (await account<{ id: string }>("POST", "/storage/kv/namespaces", namespace)).id;
});
afterAll(async () => {
  const closed = new Promise((resolve) => child.once("close", resolve));
  child.kill("SIGTERM");
  await closed;
  rmSync(folder, { recursive: true, force: true });
});

/** The result of a call of the API within the account. */
async function account<T>(method: string, path: string, body?: unknown): Promise<T> {
  const response = await fetch(`http://localhost:${port}/client/v4/accounts/${ACCOUNT}${path}`, {
    method,
    headers: { authorization: `Bearer ${TOKEN}` },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const { success, result, errors } = (await response.json()) as {
    success: boolean;
    result: T;
    errors: unknown;
  };
  if (!success) throw new Error(`${method} ${path}: ${JSON.stringify(errors)}`);
  return result;
}

/** Has the queue made by wrangler and a worker deployed that takes its messages. */
async function consume(queue: string): Promise<void> {
  await succeeds(wrangler("queues", "create", queue));
  const config = {
    name: `takes-${queue}`,
    main: "../consumer.js",
    compatibility_date: "2026-07-01",
    kv_namespaces: [{ binding: "SEEN", id: namespaceId }],
    queues: { consumers: [{ queue, max_batch_size: 10, max_batch_timeout: 0 }] },
  };
  writeFileSync(join(folder, "consumer/wrangler.json"), JSON.stringify(config));
  await succeeds(wrangler("deploy"));
}

/** What workers have been given, by what they were told to call it. */
async function seen(): Promise<string[]> {
  const path = `/storage/kv/namespaces/${namespaceId}/keys`;
  return (await account<{ name: string }[]>("GET", path)).map(({ name }) => name);
}

const produce = async (path: string): Promise<void> => {
  const response = await fetch(`http://localhost:${port}/produce/${path}`);
  expect(await response.text()).toBe("sent");
};

const isSeen = async (name: string): Promise<boolean> => (await seen()).includes(name);

test("messages of native queues reach a worker with the types that they were sent with", async () => {
  await consume("products");
  await produce("kinds");
  await until(async () => (await seen()).length >= 4, 15_000);
  expect(await seen()).toEqual([
    "bytes Uint8Array 0,1,255",
    'json {"name":"Ada","tags":["x",null],"nested":{"n":1.5}}',
    "map at=5",
    "text a text",
  ]);
});

test("a hundred messages of nearly the greatest size pass in one batch", async () => {
  await produce("large?count=100");
  await until(() => isSeen("large 99"), 20_000);
  await until(
    async () => (await seen()).filter((name) => name.startsWith("large")).length === 100,
    15_000,
  );
  expect(output).toContain("QUEUE products 100/100");
});

test("messages for a queue that does not exist are kept back until it does", async () => {
  await produce("nowhere");
  await until(() => output.includes('"event":"native_message_delayed"'), 15_000);
  expect(output).toContain('Queue \\"nowhere\\" does not exist in the default account.');
  expect(output).toContain("QUEUE nowhere 0/1");
  await consume("nowhere");
  await until(() => isSeen("text found at last"), 20_000);
});
