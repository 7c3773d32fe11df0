import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { callApi } from "./harness/api.ts";
import { startNetworkNamespace } from "./harness/network-namespace.ts";
import { freePort, startPlatform, type ApiAccess, type Platform } from "./harness/platform.ts";
import { until } from "./harness/processes.ts";
import { upload } from "./harness/upload.ts";

/** What a call out of a worker came to. */
interface Outcome {
  status?: number;
  text?: string;
  /** Whether it is an instance of TypeError, and what it says. */
  typeError?: boolean;
  error?: string;
}

/** Does what the request's body says and tells what came of it. */
const CALLER = `
  import { connect } from "cloudflare:sockets";
  const failure = (error) => ({ typeError: error instanceof TypeError, error: error.message });
  async function get({ url, init }) {
    const response = await fetch(url, init);
    if (response.webSocket) {
      response.webSocket.accept();
      const message = new Promise((resolve) => response.webSocket.addEventListener("message", resolve));
      response.webSocket.send("hello");
      return { status: response.status, text: (await message).data };
    }
    return { status: response.status, text: await response.text() };
  }
  async function open({ address, sent, options }) {
    const socket = connect(address, options);
    const writer = socket.writable.getWriter();
    await writer.write(new TextEncoder().encode(sent));
    let text = "";
    for await (const chunk of socket.readable.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      if (text.length === sent.length) await writer.close();
    }
    if (text.length < sent.length) throw new Error("closed");
    return { text };
  }
  export default {
    async fetch(request, env) {
      const call = await request.json();
      const one = (call) => (call.address ? open(call) : get(call)).catch(failure);
      if (call.times) {
        const outcomes = [];
        for (let i = 0; i < call.times; i++) outcomes.push((await one(call)).error ?? "ok");
        return Response.json(outcomes);
      }
      return Response.json(await one(call));
    },
  };`;

/** Calls itself, by its address or by its binding, until it is told that it may not. */
const LOOP = `
  import { WorkerEntrypoint } from "cloudflare:workers";
  let calls = 0;
  export default class extends WorkerEntrypoint {
    async fetch(request) {
      const { searchParams } = new URL(request.url);
      if (searchParams.has("deep")) return Response.json(await this.env.SELF.deeper(1));
      const url = new URL(request.url);
      const level = Number(searchParams.get("level"));
      url.searchParams.set("level", level + 1);
      const self = searchParams.has("binding") ? this.env.SELF : globalThis;
      const init = searchParams.has("forward") ? request : undefined;
      const response = await self.fetch(url, init);
      if (response.headers.has("level")) return response;
      return new Response(await response.text(), { headers: { level, status: response.status } });
    }
    async deeper(level) {
      try {
        return await this.env.SELF.deeper(level + 1);
      } catch (error) {
        return [level, error.message];
      }
    }
  }`;

const ECHO = `export default {
  async fetch(request) {
    if (request.headers.has("upgrade")) {
      const [client, server] = Object.values(new WebSocketPair());
      server.accept();
      server.addEventListener("message", ({ data }) => server.send("back: " + data));
      return new Response(null, { status: 101, webSocket: client });
    }
    return Response.json({ url: request.url, cf: request.cf, headers: [...request.headers] });
  },
};`;

const port = await freePort();
const namespace = await startNetworkNamespace(port);
const noNamespace = typeof namespace === "string";
if (noNamespace) console.warn(`Only loopback is tested: ${namespace}`);

let platform: Platform;
let other: ApiAccess;
beforeAll(async () => {
  platform = await startPlatform({
    env: { PORT: String(port), MAYFLY_API_HOSTS: "api.test" },
    ...(noNamespace ? {} : { within: namespace.enter }),
  });
  const { result } = await callApi(platform, "POST", "/accounts", {
    name: "O",
    subdomain: "other",
  });
  other = { api: platform.api, token: platform.token, accountId: result.id };
  const service = { type: "service", name: "SELF" };
  const bound = (name: string): object => ({ bindings: [{ ...service, service: name }] });
  const own = { code: ECHO, isolation: "request" } as const;
  await Promise.all([
    upload(platform, { name: "caller", code: CALLER, isolation: "request" }),
    upload(platform, { name: "shared-caller", code: CALLER, isolation: "shared" }),
    upload(platform, {
      name: "old-caller",
      code: CALLER,
      isolation: "request",
      // Before URLs were parsed as the standard says.
      metadata: { compatibility_date: "2022-01-01" },
    }),
    upload(platform, { name: "echo", ...own }),
    upload(platform, { name: "shared-echo", code: ECHO, isolation: "shared" }),
    upload(other, { name: "echo", ...own }),
    upload(other, { name: "caller", code: CALLER, isolation: "request" }),
  ]);
  for (const isolation of ["request", "shared"] as const) {
    const name = `${isolation}-loop`;
    const bindings = { name, code: LOOP, isolation };
    await upload(platform, bindings);
    await upload(platform, { ...bindings, metadata: { ...bound(name), mayfly: { isolation } } });
  }
});
afterAll(async () => {
  if (process.env.DBG)
    (await import("node:fs")).writeFileSync("/tmp/eg/plat.log", platform.output());
  await platform?.stop();
  if (!noNamespace) await namespace.stop();
});

async function post<T>(host: string, body: object): Promise<T> {
  const response = await platform.fetchHost(`${host}.localhost`, "/", {
    method: "POST",
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${response.status} ${text}`);
  return JSON.parse(text) as T;
}

const call = (url: string, init?: object, host = "caller.dev"): Promise<Outcome> =>
  post(host, { url, init });
const open = (address: unknown, sent = "x", host = "caller.dev"): Promise<Outcome> =>
  post(host, { address, sent });
const refused = (host: string, rule: string, reason: string): Outcome => ({
  typeError: true,
  error: `egress refused "${host}": ${reason} (rule ${rule})`,
});
const PUBLIC_ONLY = "workers reach public addresses only";
const setRules = (rules: object, account: ApiAccess = platform): ReturnType<typeof callApi> =>
  callApi(platform, "PUT", `/accounts/${account.accountId}/mayfly/egress`, rules);

const contacts = (): string[] =>
  (noNamespace ? [] : namespace.contacts).map(({ address, port }) => `${address} ${port}`);

const deny = (host: string): Outcome =>
  refused(host, "deny_list", "the account's deny list names it");

const allow = (host: string): Outcome =>
  refused(host, "allow_list", "the account's allow list does not name it");

/** What the worker that is called finds in its request. */
async function echo(url: string, init?: object): Promise<{ url: string; headers: object }> {
  const { text = "", error } = await call(url, init);
  if (error) throw new Error(error);
  const { headers, ...rest } = JSON.parse(text) as { url: string; headers: [string, string][] };
  return { ...rest, headers: Object.fromEntries(headers) };
}

const loop = async (host: string, query: string): Promise<[number, string, string | null]> => {
  const response = await platform.fetchHost(`${host}.dev.localhost`, `/?level=0${query}`);
  const level = Number(response.headers.get("level"));
  return [level, await response.text(), response.headers.get("status")];
};

const redirectTo = (url: string): string => `http://public.test:8080/to/${encodeURIComponent(url)}`;

const ADDRESSES: [rule: string, host: string, ...spellings: string[]][] = [
  ["loopback_address", "127.0.0.1", "127.1", "2130706433", "0x7f.1", "017700000001", "127.0.0.1."],
  ["loopback_address", "127.8.9.10"],
  ["loopback_address", "0.0.0.0", "0"],
  ["loopback_address", "localhost", "LOCALHOST", "localhost.", "%6cocalhost"],
  ["loopback_address", "some.localhost"],
  ["loopback_address", "[::1]", "[0:0:0:0:0:0:0:1]"],
  ["loopback_address", "[::]"],
  ["loopback_address", "[::ffff:7f00:1]", "[::ffff:127.0.0.1]"],
  ["private_address", "10.1.2.3", "167838211"],
  ["private_address", "172.16.0.5"],
  ["private_address", "192.168.1.5"],
  ["private_address", "100.64.0.1"],
  ["private_address", "[fd00:ec2::254]"],
  ["private_address", "[::ffff:a01:203]", "[::ffff:10.1.2.3]"],
  ["private_address", "[64:ff9b::a01:203]"],
  ["private_address", "[2002:a01:203::]"],
  ["link_local_address", "169.254.169.254", "0xa9fea9fe"],
  ["link_local_address", "[fe80::5]"],
  ["multicast_address", "224.0.0.1"],
  ["multicast_address", "[ff02::1]"],
  ["reserved_address", "255.255.255.255"],
];

describe.each(ADDRESSES)("%s %s", (rule, host, ...spellings) => {
  const all = [host, ...spellings];

  test("is refused to fetch, however it is written", async () => {
    for (const spelling of all) {
      expect(await call(`http://${spelling}:8080/`)).toEqual(refused(host, rule, PUBLIC_ONLY));
      expect(await call(`https://${spelling}:8443/`), spelling).toMatchObject({ typeError: true });
      const outcome = await call(`http://${spelling}:8080/`, {}, "old-caller.dev");
      expect(outcome, spelling).toMatchObject({ error: expect.any(String) });
    }
  });

  test("is refused to connect, and the log says why", async () => {
    for (const spelling of all) {
      const before = platform.output().length;
      expect(await open(`${spelling}:7`), spelling).toMatchObject({ error: expect.any(String) });
      // What is no address at all does not get as far as the platform.
      if (spelling.includes("%")) continue;
      await until(() => platform.output().slice(before).includes(`(rule ${rule})`), 5_000);
    }
  });
});

describe.skipIf(noNamespace)("in a network with public and private hosts", () => {
  test("public hosts are reached by address and by name", async () => {
    for (const host of ["203.0.113.7", "public.test", "api.public.test"]) {
      const { status, text } = await call(`http://${host}:8080/path?q`, {
        method: "POST",
        headers: { "x-sent": "1" },
        body: "body",
      });
      expect([status, JSON.parse(text ?? "")]).toMatchObject([
        200,
        { at: "::ffff:203.0.113.7", method: "POST", url: "/path?q", body: "body" },
      ]);
    }
    for (const host of ["[2001:db8::7]", "public6.test"]) {
      expect((await call(`http://${host}:8080/`)).text).toContain('"at":"2001:db8::7"');
    }
    expect(contacts()).toContain("203.0.113.7 8080");
  });

  test("names that mean private hosts are refused", async () => {
    for (const name of [
      "private.test",
      "loopback.test",
      "loopback6.test",
      "metadata.google.internal",
      "unique-local.test",
      "unknown.test",
    ]) {
      const expected = refused(
        name,
        "no_public_address",
        "it has no address, or none that is public",
      );
      expect(await call(`http://${name}:8080/`)).toEqual(expected);
      expect((await open(`${name}:7`)).error).toBeDefined();
    }
  });

  test("of a name with several addresses only the public ones are called", async () => {
    for (let i = 0; i < 8; i++) {
      expect((await call("http://mixed.test:8080/")).text).toContain("203.0.113.7");
    }
  });

  test("redirects to private hosts are refused", async () => {
    expect(await call(redirectTo("http://public6.test:8080/"))).toMatchObject({ status: 200 });
    for (const [rule, host] of ADDRESSES) {
      expect(await call(redirectTo(`http://${host}:8080/`))).toEqual(
        refused(host, rule, PUBLIC_ONLY),
      );
    }
    expect((await call(redirectTo("http://private.test:8080/"))).error).toContain(
      "no_public_address",
    );
    expect(await call(redirectTo("http://10.1.2.3:8080/"), { redirect: "manual" })).toMatchObject({
      status: 302,
    });
  });

  test("a public host that does not listen is no refusal", async () => {
    expect((await call("http://203.0.113.7:9/")).error).toBe("Network connection lost.");
  });

  test("connect reaches public hosts, both ways", async () => {
    const sent = "x".repeat(300_000);
    for (const address of ["public.test:7", "203.0.113.7:7", "[2001:db8::7]:7"]) {
      expect((await open(address, sent)).text?.length, address).toBe(sent.length);
    }
    expect((await open({ hostname: "2001:db8::7", port: 7 }, "hi")).text).toBe("hi");
  });

  test("connect is refused for mail", async () => {
    expect((await open("public.test:25", "x")).error).toBeDefined();
    await until(() => platform.output().includes("(rule smtp_port)"), 5_000);
  });

  describe("with lists", () => {
    afterAll(() => setRules({}));
    test("what is denied is refused at once, and the rest is not", async () => {
      await setRules({ deny: ["*.public.test", "203.0.113.7"] });
      expect(await call("http://api.public.test:8080/")).toEqual(deny("api.public.test"));
      expect(await call("http://API.public.test.:8080/")).toEqual(deny("api.public.test"));
      expect(await call("http://0xcb007107:8080/")).toEqual(deny("203.0.113.7"));
      expect(await call("http://public.test:8080/")).toMatchObject({ status: 200 });
      expect((await open("api.public.test:7", "x")).error).toBeDefined();
      await until(() => platform.output().includes("(rule deny_list)"), 5_000);
    });

    test("what is not allowed is refused, redirects too", async () => {
      await setRules({ allow: ["public.test"] });
      expect(await call("http://public.test:8080/")).toMatchObject({ status: 200 });
      expect(await call("http://public6.test:8080/")).toEqual(allow("public6.test"));
      expect(await call("http://api.public.test:8080/")).toEqual(allow("api.public.test"));
      expect(await call(redirectTo("http://public6.test:8080/"))).toEqual(allow("public6.test"));
      expect((await open("public.test:7", "x")).text).toBe("x");
      expect((await open("public6.test:7", "x")).error).toBeDefined();
    });

    test("what is denied stays so even if it is allowed", async () => {
      await setRules({ allow: ["*.public.test", "public.test"], deny: ["api.public.test"] });
      expect(await call("http://api.public.test:8080/")).toEqual(deny("api.public.test"));
      expect(await call("http://public.test:8080/")).toMatchObject({ status: 200 });
    });

    test("no list makes a private host public", async () => {
      await setRules({ allow: ["10.1.2.3", "private.test", "localhost"] });
      expect(await call("http://10.1.2.3:8080/")).toMatchObject({ typeError: true });
      expect(await call("http://private.test:8080/")).toMatchObject({ typeError: true });
      expect(await call("http://localhost:8080/")).toMatchObject({ typeError: true });
    });

    test("they hold for the account's own workers only", async () => {
      await setRules({ deny: ["*"] });
      expect(await call("http://public.test:8080/")).toEqual(deny("public.test"));
      const theirs = await call("http://public.test:8080/", {}, "caller.other");
      expect(theirs).toMatchObject({ status: 200 });
    });
  });

  test("no private host was ever connected to", () => {
    const called = new Set((noNamespace ? [] : namespace.contacts).map(({ address }) => address));
    expect(called).toEqual(new Set(["203.0.113.7", "2001:db8::7"]));
    expect(contacts()).not.toContain("203.0.113.7 25");
  });
});

describe("hosts of the platform itself", () => {
  test("are served without the network, at their port or the scheme's own", async () => {
    for (const url of [
      `http://echo.dev.localhost:${port}/a?b`,
      "http://echo.dev.localhost/a?b",
      "https://echo.dev.localhost/a?b",
      "https://echo.dev.workers.dev/a?b",
    ]) {
      expect((await echo(url)).url).toBe(url);
    }
  });

  test("at another port they are hosts like others", async () => {
    const expected = refused("echo.dev.localhost", "loopback_address", PUBLIC_ONLY);
    expect(await call("http://echo.dev.localhost:9999/")).toEqual(expected);
  });

  test("are refused to connect", async () => {
    for (const isolation of ["caller.dev", "shared-caller.dev"]) {
      const outcome = await open(
        `echo.dev.workers.dev:${port}`,
        "GET / HTTP/1.0\r\n\r\n",
        isolation,
      );
      expect(outcome.error).toBeDefined();
    }
    await until(() => platform.output().includes("(rule own_host)"), 5_000);
  });

  test("a worker cannot pass itself off as another client to another account", async () => {
    const headers = { "cf-connecting-ip": "8.8.8.8" };
    const init = { headers, cf: { clientIp: "8.8.8.8:1", country: "XX" } };
    const theirs = await echo(`http://echo.other.localhost:${port}/`, init);
    expect(theirs).toMatchObject({ headers: { "cf-connecting-ip": "2a06:98c0:3600::103" } });
    expect(JSON.stringify(theirs)).not.toContain("8.8.8.8");
    expect(JSON.stringify(theirs)).not.toContain("XX");
  });

  test("the control API is not for workers, even with a token", async () => {
    const headers = { authorization: `Bearer ${platform.token}` };
    for (const [host, at] of [
      ["localhost", `localhost:${port}`],
      ["localhost", "localhost"],
      ["api.test", `api.test:${port}`],
      ["api.test", "api.test"],
    ] as const) {
      for (const path of ["/client/v4/user", "/_mayfly/metrics", "/_mayfly/health"]) {
        const reason = "the platform's API is not for workers";
        const expected = refused(host, "control_api", reason);
        expect(await call(`http://${at}${path}`, { headers })).toEqual(expected);
      }
    }
  });

  test("WebSockets go through", async () => {
    expect(
      await call(`http://echo.dev.localhost:${port}/`, { headers: { upgrade: "websocket" } }),
    ).toEqual({ status: 101, text: "back: hello" });
  });

  test("lists hold for them too", async () => {
    await setRules({ deny: ["*.other.localhost"] });
    expect((await call(`http://echo.other.localhost:${port}/`)).error).toContain("deny_list");
    expect(await call(`http://echo.dev.localhost:${port}/`)).toMatchObject({ status: 200 });
    await setRules({});
  });
});

describe("a worker that calls itself", () => {
  test.each([
    ["by its address", "request-loop", ""],
    ["by its binding", "request-loop", "&binding"],
    ["in a shared isolate, passing its request on", "shared-loop", "&forward"],
    [
      "in a shared isolate by its binding, passing its request on",
      "shared-loop",
      "&binding&forward",
    ],
  ])("%s is stopped after 16 times", async (_, host, query) => {
    const [level, text, status] = await loop(host, query);
    expect(text).toContain("Error 1019: Worker hit loop limit");
    expect([level, status]).toEqual([16, "508"]);
  });

  test.each([
    ["request-loop", /^Worker hit loop limit/, 16],
    ["shared-loop", /Worker hit loop limit|Too many requests at once/, 2_000],
  ])("by a method of %s is stopped", async (host, words, most) => {
    const response = await platform.fetchHost(`${host}.dev.localhost`, "/?deep");
    const [level, message] = (await response.json()) as [number, string];
    expect(message).toMatch(words);
    expect(level).toBeLessThanOrEqual(most);
  });

  test("in a shared isolate is stopped, and the platform serves on", async () => {
    const [level] = await loop("shared-loop", "");
    expect(level).toBeGreaterThan(16);
    expect(level).toBeLessThanOrEqual(2_001);
    expect(await call(`http://echo.dev.localhost:${port}/`)).toMatchObject({ status: 200 });
  });
});

test.each(["caller.dev", "shared-caller.dev"])(
  "%s may make 1000 calls in one invocation",
  async (host) => {
    const url = `http://shared-echo.dev.localhost:${port}/`;
    for (let i = 0; i < 2; i++) {
      const outcomes = await post<string[]>(host, { url, times: 1_002 });
      const counts = Object.groupBy(outcomes, (outcome) => outcome);
      expect(counts["ok"]).toHaveLength(1_000);
      expect(counts["Too many subrequests."]).toHaveLength(2);
    }
  },
);

describe("the lists", () => {
  afterAll(() => setRules({}));

  test("are empty until they are set, and given back as hosts are written", async () => {
    const path = `/accounts/${other.accountId}/mayfly/egress`;
    expect((await callApi(platform, "GET", path)).result).toEqual({ allow: [], deny: [] });
    const rules = {
      allow: ["API.Example.com", "*.bücher.example", "0x7f.1"],
      deny: ["[2001:DB8::1]"],
    };
    const expected = {
      allow: ["api.example.com", "*.xn--bcher-kva.example", "127.0.0.1"],
      deny: ["[2001:db8::1]"],
    };
    expect((await setRules(rules, other)).result).toEqual(expected);
    expect((await callApi(platform, "GET", path)).result).toEqual(expected);
  });

  test.each([
    [{ allow: ["example.com:443"] }, "allow.0"],
    [{ deny: ["ok.example", "https://example.com"] }, "deny.1"],
    [{ deny: ["a*.example"] }, "deny.0"],
    [{ deny: ["*.10.0.0.1"] }, "deny.0"],
    [{ deny: [""] }, "deny.0"],
    [{ allow: "example.com" }, "allow"],
    [{ allowed: [] }, "allowed"],
  ])("%j are refused", async (rules, field) => {
    const { status, code, message } = await setRules(rules);
    expect([status, code]).toEqual([400, 10001]);
    expect(message).toMatch(new RegExp(`^${field}: `));
  });
});
