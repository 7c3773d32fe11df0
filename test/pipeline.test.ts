import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { deploy } from "./harness/deploy.ts";
import { meanwhile } from "./harness/meanwhile.ts";
import { metric } from "./harness/metrics.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { isAlive, pidOf } from "./harness/processes.ts";
import { upload } from "./harness/upload.ts";
import { fetchWorker } from "./harness/worker-fetch.ts";

const PROBE = join(import.meta.dirname, "workers/probe/index.js");
const WALL_TIME_MS = 1_500;

let platform: Platform;
const addresses: Record<string, string> = {};

beforeAll(async () => {
  platform = await startPlatform();
  for (const isolation of ["shared", "request"]) {
    const name = `probe-${isolation}`;
    addresses[isolation] = await deploy(platform, {
      name,
      main: PROBE,
      vars: { TEXT: "plain", JSON: { deep: [1] } },
      kv_namespaces: [{ binding: "KV" }],
      services: [
        { binding: "CALCULATOR", service: name, entrypoint: "Calculator", props: { unit: "m" } },
      ],
      version_metadata: { binding: "META" },
      unsafe: { metadata: { mayfly: { isolation, wall_time_ms: WALL_TIME_MS } } },
    });
  }
  // In an executor of its own, which is not called again.
  const code = "export default { fetch: () => new Response() };";
  const metadata = { limits: { cpu_ms: 10_000 } };
  await upload(platform, { name: "long", code, isolation: "request", metadata });
  await platform.fetchHost("long.dev.localhost");
});

afterAll(() => platform.stop());

async function eventually(check: () => Promise<boolean>, withinMs: number): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await check())) {
    if (Date.now() > deadline) throw new Error(`not so within ${withinMs} ms: ${check}`);
    await sleep(100);
  }
}

for (const isolation of ["shared", "request"]) {
  const call = (path: string, init?: RequestInit): Promise<Response> =>
    fetchWorker(addresses[isolation] + path, init);

  describe(`A worker in ${isolation} mode`, () => {
    it("answers, with vars, JSON and version metadata in env", async () => {
      const env = (await (await call("/env")).json()) as { META: { id: string }; keys: string[] };
      expect(env).toMatchObject({ TEXT: "plain", JSON: { deep: [1] } });
      expect(env.META.id).toMatch(/^[0-9a-f-]{36}$/);
      expect(Object.keys(env.META).sort()).toEqual(["id", "tag", "timestamp"]);
      expect(env.keys.sort()).toEqual(["CALCULATOR", "JSON", "KV", "META", "TEXT"]);
    });

    it("gets the client's headers, and Cloudflare's whatever the client sends", async () => {
      const response = await call("/headers", {
        headers: { "cf-connecting-ip": "6.6.6.6", "x-custom": "kept" },
      });
      const headers = (await response.json()) as Record<string, string>;
      expect(headers).toMatchObject({
        "cf-connecting-ip": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-custom": "kept",
      });
      expect(headers["cf-ray"]).toMatch(/^[0-9a-f]{16}$/);
    });

    it("streams a request's body back, large and of unknown length", async () => {
      const chunk = new Uint8Array(1024 * 1024).fill(7);
      let left = 20;
      const body = new ReadableStream({
        pull(controller) {
          if (left-- > 0) controller.enqueue(chunk);
          else controller.close();
        },
      });
      const response = await call("/echo", { method: "PUT", body });
      expect(response.headers.get("x-method")).toBe("PUT");
      const echoed = new Uint8Array(await response.arrayBuffer());
      expect(echoed.length).toBe(20 * chunk.length);
      expect(echoed.every((byte) => byte === 7)).toBe(true);
    });

    it("sends the parts of a stream as they are made", async () => {
      const started = Date.now();
      const response = await call("/stream?seconds=3");
      const reader = (response.body as ReadableStream<Uint8Array>).getReader();
      await reader.read();
      expect(Date.now() - started).toBeLessThan(2_500);
      let parts = 1;
      while (!(await reader.read()).done) parts++;
      expect(parts).toBe(3);
    });

    it("passes redirects on instead of following them", async () => {
      const response = await call("/redirect");
      expect(response.status).toBe(302);
      expect(response.headers.get("location")).toBe("https://example.com/elsewhere");
    });

    it("holds a WebSocket, in one isolate, past what ends idle isolates", async () => {
      const { port, host } = new URL(addresses[isolation] ?? "");
      const socket = new WebSocket(`ws://127.0.0.1:${port}/socket`, { headers: { host } });
      const messages: string[] = [];
      socket.on("message", (data) => messages.push(String(data)));
      await new Promise((resolve) => socket.once("open", resolve));
      socket.send("first");
      await sleep(12_000);
      socket.send("second");
      await eventually(async () => messages.length === 2, 2_000);
      expect(messages).toEqual(["first 1", "second 2"]);
      socket.close();
    });

    it("finishes waitUntil work after the response", async () => {
      expect(await (await call("/later")).text()).toBe("soon");
      await eventually(async () => (await (await call("/later/read")).text()) === "done", 10_000);
    });

    it("reaches an entrypoint of a service binding by methods, stubs, props and fetch", async () => {
      expect(await (await call("/rpc")).json()).toEqual({
        sum: 5,
        counted: [1, 2],
        props: { unit: "m" },
        fetched: "calculator got /path",
        failed: "TypeError: no such sum",
        missing: 'The RPC receiver does not implement the method "missing".',
      });
    });

    it("answers 500 with a code and an id when it throws; only the log has the stack", async () => {
      const response = await call("/throw", { headers: { accept: "application/json" } });
      expect(response.status).toBe(500);
      expect(response.headers.get("mayfly-error")).toBe("worker_exception");
      const text = await response.text();
      expect(text).not.toMatch(/thrown on request|index\.js/);
      const { error } = JSON.parse(text) as { error: { invocation_id: string; code: string } };
      expect(error.code).toBe("worker_exception");
      await eventually(async () => platform.output().includes(error.invocation_id), 5_000);
      const line = platform
        .output()
        .split("\n")
        .find((text) => text.includes(error.invocation_id));
      expect(line).toContain("RangeError: thrown on request");
      expect(line).toMatch(/at .*index\.js:\d+:\d+/);
    });

    it("is stopped at its wall time with a 504, and works again at once", async () => {
      const started = Date.now();
      const response = await call("/never", { headers: { accept: "text/html" } });
      expect(response.status).toBe(504);
      expect(response.headers.get("mayfly-error")).toBe("wall_time_exceeded");
      expect(await response.text()).toContain("<h1>504");
      expect(Date.now() - started).toBeLessThan(WALL_TIME_MS + 1_500);
      expect(await (await call("/")).text()).toBe("probe");
    });

    it("cannot fetch loopback or private addresses", async () => {
      for (const host of [`127.0.0.1:${platform.port}`, `localhost:${platform.port}`, "[::1]"]) {
        const url = encodeURIComponent(`http://${host}/_mayfly/health`);
        const outcome = await (await call(`/outside?url=${url}`)).text();
        expect(outcome, host).not.toContain("status 200");
      }
    });
  });
}

/** How many calls the isolate that answers has seen. */
async function count(isolation: string): Promise<number> {
  const response = await fetchWorker(`${addresses[isolation]}/calls`);
  return ((await response.json()) as { calls: number }).calls;
}

describe("Isolates", () => {
  it("are not shared between requests in request mode, and are in shared mode", async () => {
    for (let i = 0; i < 30; i++) expect(await count("request")).toBe(1);
    const first = await count("shared");
    expect(await count("shared")).toBe(first + 1);
  });

  it("serve many requests of one version at once", async () => {
    for (const isolation of ["shared", "request"]) {
      const responses = await Promise.all(
        Array.from({ length: 60 }, () => fetchWorker(`${addresses[isolation]}/`)),
      );
      expect(responses.map(({ status }) => status).filter((status) => status !== 200)).toEqual([]);
    }
  });

  it("are all gone when nothing was called for a while, but not while a body streams", async () => {
    const stream = meanwhile(fetchWorker(`${addresses["shared"]}/stream?seconds=45`));
    await eventually(async () => (await metric(platform, "mayfly_isolates")) === 1, 50_000);
    expect(await metric(platform, "mayfly_invocations_in_flight")).toBe(1);
    const text = await (await stream).text();
    expect(text.trim().split("\n").length).toBe(45);
    await eventually(async () => (await metric(platform, "mayfly_isolates")) === 0, 45_000);
  }, 120_000);
});

describe("The executor of scripts that ask for more CPU time", () => {
  it("ends when none of them was called for a minute", async () => {
    const pid = pidOf(platform, "executor-long");
    await eventually(async () => !isAlive(pid), 75_000);
    expect((await platform.fetchHost("long.dev.localhost")).status).toBe(200);
    expect(pidOf(platform, "executor-long")).not.toBe(pid);
  }, 90_000);
});

describe("The platform", () => {
  it("keeps a record of each invocation, from the moment in which it is asked to", async () => {
    const account = `/accounts/${platform.accountId}`;
    const settings = `${account}/workers/scripts/probe-shared/script-settings`;
    const body = JSON.stringify({ observability: { enabled: true } });
    await platform.fetchApi(settings, { method: "PATCH", body });
    await fetchWorker(`${addresses["shared"]}/throw`);
    await eventually(async () => {
      const response = await platform.fetchApi(
        `${account}/mayfly/logs?script=probe-shared&limit=1`,
      );
      const { result } = (await response.json()) as { result: Record<string, unknown>[] };
      return result[0]?.["outcome"] === "exception" && result[0]["status"] === 500;
    }, 5_000);
  });

  it("answers an unknown host with a 404 that says what is served", async () => {
    const response = await platform.fetchHost("nobody.dev.localhost", "/x");
    expect(response.status).toBe(404);
    expect(response.headers.get("mayfly-error")).toBe("host_not_found");
    expect(await response.text()).toContain("{script}.{subdomain}.localhost");
  });

  it("lets no body of more than 100 MiB pass", async () => {
    const chunk = new Uint8Array(8 * 1024 * 1024);
    let left = 14;
    const body = new ReadableStream({
      pull(controller) {
        if (left-- > 0) controller.enqueue(chunk);
        else controller.close();
      },
    });
    // The answer may have begun before the limit is met, or be lost while the client still writes:
    // then it is cut off.
    const echoed = await fetchWorker(`${addresses["shared"]}/echo`, { method: "POST", body })
      .then(async (response) => (response.ok ? (await response.arrayBuffer()).byteLength : 0))
      .catch(() => 0);
    expect(echoed).toBeLessThanOrEqual(100 * 1024 * 1024);
  });
});
