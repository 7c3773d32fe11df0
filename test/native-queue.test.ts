import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { succeeds } from "./harness/expect-command.ts";
import { runNode, type CommandResult } from "./harness/platform.ts";
import { until } from "./harness/processes.ts";
import { account } from "./harness/queue.ts";
import { startWranglerDev, type WranglerDev } from "./harness/wrangler-dev.ts";

const ROOT = dirname(import.meta.dirname);
const WRANGLER = join(ROOT, "node_modules/wrangler/bin/wrangler.js");
const COMPATIBILITY_DATE = "2026-07-01";

// A Worker beside the platform that sends to native queues, and lets all else through to it.
const PRODUCER = `
  const bodies = {
    text: "a text",
    json: { name: "Ada", tags: ["x", null], nested: { n: 1.5 } },
    bytes: new Uint8Array([0, 1, 255]),
    v8: new Map([["at", new Date(5)]]),
  };
  export default {
    async fetch(request, env) {
      const { pathname } = new URL(request.url);
      if (pathname === "/produce/kinds") {
        for (const [contentType, body] of Object.entries(bodies)) {
          await env.PRODUCTS.send(body, { contentType });
        }
      } else if (pathname === "/produce/large") {
        const body = "x".repeat(120_000);
        const send = (i) => env.PRODUCTS.send(i + body, { contentType: "text" });
        await Promise.all(Array.from({ length: 100 }, (_, i) => send(i)));
      } else if (pathname === "/produce/nowhere") {
        await env.NOWHERE.send("found at last", { contentType: "text" });
      } else {
        return env.MAYFLY.fetch(request);
      }
      return new Response("sent");
    },
  };`;

// A worker on the platform that writes down what it was given.
const CONSUMER = `
  function describe(body) {
    if (body instanceof ArrayBuffer) return "bytes " + new Uint8Array(body);
    if (body instanceof Map) return "map " + [...body].map(([key, date]) => key + "=" + date.getTime());
    if (typeof body === "object") return "json " + JSON.stringify(body);
    return body.length > 1000 ? "large " + body.slice(0, -120_000) : "text " + body;
  }
  export default {
    async queue(batch, env) {
      await Promise.all(batch.messages.map(({ body }) => env.SEEN.put(describe(body), "")));
    },
  };`;

const folder = mkdtempSync(join(tmpdir(), "mayfly-native-"));
let dev: WranglerDev;
let namespaceId: string;

/** The platform's configuration as someone would write it who consumes native queues. */
function writePlatform(): { config: string; varsFile: string } {
  mkdirSync(join(folder, "platform"));
  const own = readFileSync(join(ROOT, "wrangler.toml"), "utf8")
    .replace('main = "src/index.ts"', `main = ${JSON.stringify(join(ROOT, "src/index.ts"))}`)
    // The suite has built what this builds.
    .replace(/^\[build\]\n(?:\w.*\n)+/m, "");
  const consumers = ["products", "nowhere"].map(
    (queue) =>
      `[[queues.consumers]]\nqueue = "${queue}"\nmax_batch_size = 100\nmax_batch_timeout = 1\n`,
  );
  const config = join(folder, "platform/wrangler.toml");
  writeFileSync(config, `${own}\n${consumers.join("\n")}`);
  const vars = {
    MAYFLY_RUNTIME: "workerd",
    MAYFLY_TOKEN: "native-queue-test",
    MAYFLY_ACCOUNT_ID: "0123456789abcdef0123456789abcdef",
    MAYFLY_SECRETS_KEY: Buffer.alloc(32, 1).toString("base64"),
  };
  const lines = Object.entries(vars).map(([name, value]) => `${name}="${value}"\n`);
  const varsFile = join(folder, "platform/.dev.vars");
  writeFileSync(varsFile, lines.join(""));
  return { config, varsFile };
}

function writeProducer(): string {
  mkdirSync(join(folder, "producer"));
  writeFileSync(join(folder, "producer/index.js"), PRODUCER);
  const config = {
    name: "producer",
    main: "index.js",
    compatibility_date: COMPATIBILITY_DATE,
    services: [{ binding: "MAYFLY", service: "mayfly" }],
    queues: {
      producers: [
        { binding: "PRODUCTS", queue: "products" },
        { binding: "NOWHERE", queue: "nowhere" },
      ],
    },
  };
  const file = join(folder, "producer/wrangler.json");
  writeFileSync(file, JSON.stringify(config));
  return file;
}

beforeAll(async () => {
  const { config, varsFile } = writePlatform();
  dev = await startWranglerDev({ configs: [writeProducer(), config], varsFile });
  mkdirSync(join(folder, "consumer"));
  writeFileSync(join(folder, "consumer/index.js"), CONSUMER);
  const namespace = { title: "seen" };
  const made = await account<{ id: string }>(dev, "POST", "/storage/kv/namespaces", namespace);
  namespaceId = made.id;
});
afterAll(async () => {
  await dev.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** wrangler, as a user of the platform. */
const wrangler = (...args: string[]): Promise<CommandResult> =>
  runNode([WRANGLER, ...args], {
    cwd: join(folder, "consumer"),
    env: {
      CI: "1",
      NO_COLOR: "1",
      WRANGLER_SEND_METRICS: "false",
      XDG_CONFIG_HOME: folder,
      WRANGLER_LOG_PATH: join(folder, "logs"),
      CLOUDFLARE_API_BASE_URL: dev.api,
      CLOUDFLARE_API_TOKEN: dev.token,
      CLOUDFLARE_ACCOUNT_ID: dev.accountId,
    },
  });

/** Makes the queue and deploys a worker that consumes it. */
async function consume(queue: string): Promise<void> {
  await succeeds(wrangler("queues", "create", queue));
  const config = {
    name: `takes-${queue}`,
    main: "index.js",
    compatibility_date: COMPATIBILITY_DATE,
    kv_namespaces: [{ binding: "SEEN", id: namespaceId }],
    queues: { consumers: [{ queue, max_batch_timeout: 0 }] },
  };
  writeFileSync(join(folder, "consumer/wrangler.json"), JSON.stringify(config));
  await succeeds(wrangler("deploy"));
}

async function produce(what: string): Promise<void> {
  const response = await fetch(`${dev.url}/produce/${what}`);
  expect(await response.text()).toBe("sent");
}

const isLarge = (name: string): boolean => name.startsWith("large ");

/** What workers were given, in alphabetical order. */
async function seen(): Promise<string[]> {
  const path = `/storage/kv/namespaces/${namespaceId}/keys`;
  return (await account<{ name: string }[]>(dev, "GET", path)).map(({ name }) => name);
}

test("messages of native queues reach a worker with the types that they were sent with", async () => {
  await consume("products");
  await produce("kinds");
  await until(async () => (await seen()).length >= 4, 15_000);
  expect(await seen()).toEqual([
    "bytes 0,1,255",
    'json {"name":"Ada","tags":["x",null],"nested":{"n":1.5}}',
    "map at=5",
    "text a text",
  ]);
});

test("a hundred messages of nearly the greatest size pass in one batch", async () => {
  await produce("large");

  await until(async () => (await seen()).filter(isLarge).length === 100, 30_000);
  expect(dev.output()).toContain("QUEUE products 100/100");
});

test("messages for a queue that does not exist are kept back until it does", async () => {
  await produce("nowhere");
  await until(() => dev.output().includes("QUEUE nowhere 0/1"), 15_000);
  expect(dev.output()).toContain(
    String.raw`Queue \"nowhere\" does not exist in the default account.`,
  );
  await consume("nowhere");
  await until(async () => (await seen()).includes("text found at last"), 30_000);
});
