import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makePair } from "./harness/certificate.ts";
import { succeeds } from "./harness/expect-command.ts";
import { meanwhile } from "./harness/meanwhile.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { killExecutors, until } from "./harness/processes.ts";

const folder = mkdtempSync(join(tmpdir(), "mayfly-tls-"));
const first = makePair(folder, "first");
const second = makePair(folder, "second", "rsa");
const third = makePair(folder, "third");
const CA = join(folder, "ca.pem");
const project = join(folder, "project");
const used = { cert: join(folder, "used.pem"), key: join(folder, "used.key") };

function use(pair: { cert?: string; key?: string }): void {
  if (pair.key !== undefined) writeFileSync(used.key, pair.key, { mode: 0o600 });
  if (pair.cert !== undefined) writeFileSync(used.cert, pair.cert);
}

let platform: Platform;
let wrangler: (args: string[]) => ReturnType<Platform["wrangler"]>;
beforeAll(async () => {
  use(first);
  writeFileSync(CA, first.cert + second.cert + third.cert);
  platform = await startPlatform({
    env: { MAYFLY_TLS_CERT: used.cert, MAYFLY_TLS_KEY: used.key, MAYFLY_EXECUTORS: "2" },
  });
  const env = {
    CLOUDFLARE_API_BASE_URL: `https://localhost:${platform.port}/client/v4`,
    NODE_EXTRA_CA_CERTS: CA,
  };
  wrangler = (args) => platform.wrangler(args, { env, cwd: folder });
});
afterAll(async () => {
  await platform?.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Answer {
  status: number | undefined;
  text: string;
  /** Common name of the certificate. */
  certificate: string;
  protocol: string | null;
}

const APP_HOST = "app.dev.localhost";

const at = (name: string): string => join(folder, name);

/** Over a connection of its own unless an agent is given. */
function get(path = "/", agent: Agent | false = false, host = APP_HOST): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = {
      host: "127.0.0.1",
      port: platform.port,
      servername: host,
      headers: { host: `${host}:${platform.port}`, authorization: `Bearer ${platform.token}` },
      ca: readFileSync(CA),
      path,
      agent,
    };
    const sent = request(options, (response) => {
      const socket = response.socket as TLSSocket;
      const certificate = String(socket.getPeerCertificate().subject?.CN);
      const protocol = socket.getProtocol();
      let text = "";
      response.setEncoding("utf8").on("data", (piece: string) => (text += piece));
      response.once("end", () =>
        resolve({ status: response.statusCode, text, certificate, protocol }),
      );
      response.once("error", reject);
    });
    sent.once("error", reject).end();
  });
}

const APP = `export default {
  async fetch(request) {
    await scheduler.wait(20);
    const { headers, url } = request;
    return Response.json([url, headers.get("x-forwarded-proto"), headers.get("cf-connecting-ip")]);
  },
};`;

test("wrangler deploys over https, to an https address", async () => {
  mkdirSync(project);
  writeFileSync(join(project, "index.js"), APP);
  await succeeds(
    wrangler(["deploy", "project/index.js", "--name=app", "--compatibility-date=2026-11-01"]),
  );
  const path = `/client/v4/accounts/${platform.accountId}/workers/workers/app`;
  const { text } = await get(path, false, "localhost");
  const { result } = JSON.parse(text) as { result: { subdomain: { url: string } } };
  expect(result.subdomain.url).toBe(`https://${APP_HOST}:${platform.port}`);
});

test("workers are called over TLS and see it", async () => {
  const { status, text, certificate, protocol } = await get("/path");
  expect([status, certificate, protocol]).toEqual([200, "first", "TLSv1.3"]);
  const url = `https://${APP_HOST}:${platform.port}/path`;
  expect(JSON.parse(text)).toEqual([url, "https", "127.0.0.1"]);
});

test("all addresses that are printed are https", async () => {
  expect(platform.output()).toContain(`https://127.0.0.1:${platform.port}`);
  const { stdout } = await platform.mayfly(["env"]);
  expect(stdout).toContain(`'https://localhost:${platform.port}/client/v4'`);
});

test("links that the API makes are https", async () => {
  await succeeds(wrangler(["d1", "create", "shop"]));
  const sql = join(folder, "dump.sql");
  await succeeds(
    wrangler(["d1", "execute", "shop", "--remote", "-y", "--command=CREATE TABLE t (x)"]),
  );
  await succeeds(wrangler(["d1", "export", "shop", "--remote", `--output=${sql}`]));
  expect(readFileSync(sql, "utf8")).toContain("CREATE TABLE");
});

test("plain HTTP is not answered", async () => {
  await expect(fetch(`http://127.0.0.1:${platform.port}/_mayfly/health`)).rejects.toThrow();
});

test("copies of the key are readable by their owner only", () => {
  const runtime = readdirSync(tmpdir())
    .filter((name) => /^mayfly-\w{6}$/.test(name))
    .map((name) => join(tmpdir(), name, "public.capnp"));
  const key = first.key.split("\n")[1] as string;
  const copies = runtime.filter((path) => {
    try {
      return readFileSync(path, "utf8").includes(key);
    } catch {
      return false;
    }
  });
  expect(copies).toHaveLength(1);
  expect(statSync(copies[0] as string).mode & 0o777).toBe(0o600);
});

test("changed files are used without a failed request", async () => {
  const stop = new AbortController();
  let answered = 0;
  const agents = [new Agent({ keepAlive: true }), false] as const;
  const loops = agents.map(async (agent) => {
    while (!stop.signal.aborted) {
      const { status } = await get("/", agent).catch((error: NodeJS.ErrnoException) => {
        // A kept connection may be closed at any time; its request is sent again.
        if (agent && error.code === "ECONNRESET") return get("/", false);
        throw error;
      });
      expect(status).toBe(200);
      answered++;
    }
  });
  const clients = meanwhile(Promise.all(loops));
  use(second);
  try {
    await until(async () => (await get()).certificate === "second", 20_000);
    // The other executor, too.
    const seen = async (): Promise<string[]> =>
      Promise.all(Array.from({ length: 12 }, async () => (await get()).certificate));
    await until(async () => (await seen()).every((name) => name === "second"), 20_000);
  } finally {
    stop.abort();
    await clients;
    if (agents[0]) agents[0].destroy();
  }
  expect(answered).toBeGreaterThan(20);
});

test.each([
  ["a key of another certificate", { key: third.key }, "is not the key of the first certificate"],
  ["no certificate", { cert: "hello" }, "must be certificates as PEM"],
  ["half a certificate", { cert: second.cert.replace("A", "=") }, "must be certificates as PEM"],
  ["no key", { key: "" }, "must be a private key as PEM"],
])("%s is refused, and the old ones stay", async (_, pair, reason) => {
  const before = platform.output().length;
  use(pair);
  const log = (): string => platform.output().slice(before);
  await until(() => log().includes('"event":"certificate_refused"'), 10_000);
  expect(log()).toContain(reason);
  expect(await get()).toMatchObject({ status: 200, certificate: "second" });
  use(second);
});

test("executors that are started again have the certificate that is used", async () => {
  use({ key: third.key });
  const before = platform.output().length;
  await until(() => platform.output().slice(before).includes("certificate_refused"), 10_000);
  killExecutors(platform);
  await until(async () => (await get().catch(() => undefined))?.certificate === "second", 10_000);
});

const start = (cert: string, key: string): Promise<Platform> =>
  startPlatform({ env: { MAYFLY_TLS_CERT: cert, MAYFLY_TLS_KEY: key } });

test("what is wrong with the files is said at start", async () => {
  await expect(start(at("first.pem"), at("second.key"))).rejects.toThrow(
    "MAYFLY_TLS_KEY: is not the key of the first certificate in MAYFLY_TLS_CERT",
  );
  await expect(start(at("none.pem"), at("first.key"))).rejects.toThrow(
    `MAYFLY_TLS_CERT: ${at("none.pem")} cannot be read`,
  );
  await expect(start(at("first.pem"), "")).rejects.toThrow("MAYFLY_TLS_KEY: is not set");
});
