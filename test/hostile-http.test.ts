import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { metric } from "./harness/metrics.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { isAlive, pidOf, until } from "./harness/processes.ts";
import { openConnections, sendRaw, type RawAnswer, type RawOptions } from "./harness/raw-http.ts";
import { upload } from "./harness/upload.ts";

/** Remembers every request whose body has come whole, until it is asked for them. */
const CODE = `
  let seen = [];
  export default {
    async fetch(request) {
      const { pathname } = new URL(request.url);
      if (pathname === "/seen") return Response.json(seen.splice(0));
      if (pathname === "/large") {
        const piece = new Uint8Array(64 * 1024);
        return new Response(new ReadableStream({ pull: (body) => body.enqueue(piece) }));
      }
      const body = pathname === "/unread" ? "" : await request.text();
      seen.push(request.method + " " + request.url.slice(0, 200) + " " + body.length);
      return new Response("ok");
    },
  };`;
const HOST = "seen.dev.localhost";
const ORIGIN = `http://${HOST}`;
const SMUGGLED = `GET /smuggled HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;
const LENGTH = SMUGGLED.length;
const EMPTY_CHUNKED = "0\r\n\r\n";

let platform: Platform;
beforeAll(async () => {
  platform = await startPlatform({ env: { MAYFLY_EXECUTORS: "1" } });
  await upload(platform, { name: "seen", code: CODE, isolation: "shared" });
});
afterAll(() => platform?.stop());

const send = (bytes: string | Uint8Array, options?: RawOptions): Promise<RawAnswer> =>
  sendRaw(platform.port, bytes, options);
const get = (line: string, ...headers: string[]): string =>
  [line, `Host: ${HOST}`, ...headers, "", ""].join("\r\n");
const post = (headers: string[], body: string): string =>
  get("POST /a HTTP/1.1", ...headers) + body;
const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");
const seen = async (): Promise<string[]> =>
  (await (await platform.fetchHost(HOST, "/seen")).json()) as string[];

afterEach(async () => {
  const begun = Date.now();
  expect(await (await platform.fetchHost(HOST, "/good")).text()).toBe("ok");
  expect(Date.now() - begun).toBeLessThan(2_000);
  expect((await seen()).at(-1)).toBe(`GET ${ORIGIN}:${platform.port}/good 0`);
  expect(isAlive(pidOf(platform, "executor-1"))).toBe(true);
  expect(platform.output()).not.toMatch(/"event":"process_(?:ended|stalled)"|crash_loop/);
});

describe("is refused, and its connection closed:", () => {
  const chunked = "Transfer-Encoding: chunked";
  const longEnough = `Content-Length: ${LENGTH + EMPTY_CHUNKED.length}`;
  const withEncoding = (...headers: string[]): string =>
    post([...headers, longEnough], EMPTY_CHUNKED + SMUGGLED);
  test.each<[string, string | Uint8Array]>([
    ["two lengths", post(["Content-Length: 0", `Content-Length: ${LENGTH}`], SMUGGLED)],
    ["a list of lengths", post([`Content-Length: 0, ${LENGTH}`], SMUGGLED)],
    ["a length with a sign", post([`Content-Length: +${LENGTH}`], SMUGGLED)],
    ["a negative length", post(["Content-Length: -1"], SMUGGLED)],
    ["a hexadecimal length", post(["Content-Length: 0x10"], SMUGGLED)],
    ["an empty length", post(["Content-Length: "], SMUGGLED)],
    ["two numbers as a length", post([`Content-Length: 0 ${LENGTH}`], SMUGGLED)],
    ["a length past 64 bits", post(["Content-Length: 18446744073709551616"], SMUGGLED)],
    ["a space before a length's colon", post([`Content-Length : ${LENGTH}`], SMUGGLED)],
    ["an unknown encoding", withEncoding("Transfer-Encoding: xchunked")],
    ["an encoding in quotes", withEncoding('Transfer-Encoding: "chunked"')],
    ["an encoding after a vertical tab", withEncoding("Transfer-Encoding: \x0bchunked")],
    ["an encoding with a NUL", withEncoding("Transfer-Encoding: chunked\0")],
    ["an encoding on a line of its own", withEncoding("Transfer-Encoding:\r\n chunked")],
    ["an encoding behind a bare CR", withEncoding("X: y\rTransfer-Encoding: chunked")],
    ["a space before an encoding's colon", withEncoding("Transfer-Encoding : chunked")],
    ["chunks within something else", withEncoding("Transfer-Encoding: chunked, identity")],
    ["chunks and none", withEncoding(chunked, "Transfer-Encoding: identity")],
    ["chunks in HTTP/1.0", get("POST /a HTTP/1.0", chunked, longEnough) + EMPTY_CHUNKED + SMUGGLED],
    ["lines that end in CR", `GET /a HTTP/1.1\rHost: ${HOST}\r\r`],
    ["a folded header", get("GET /a HTTP/1.1", "X-A: a\r\n b")],
    ["a folded first header", `GET /a HTTP/1.1\r\n Host: ${HOST}\r\n\r\n`],
    ["a header without a colon", get("GET /a HTTP/1.1", "foo")],
    ["a header without a name", get("GET /a HTTP/1.1", ": b")],
    ["a space in a header's name", get("GET /a HTTP/1.1", "X A: b")],
    ["a header's name past ASCII", bytes(get("GET /a HTTP/1.1", "\xe9: b"))],
    ["a NUL in a header", get("GET /a HTTP/1.1", "X-A: a\0b")],
    ["a NUL in the host", `GET /a HTTP/1.1\r\nHost: ${HOST}\0.test\r\n\r\n`],
    ["a NUL in the path", get("GET /a\0b HTTP/1.1")],
    ["a path past ASCII", bytes(get("GET /a\xff\xfe HTTP/1.1"))],
    ["a space in the path", get("GET /a b HTTP/1.1")],
    ["a host as the path", get("GET @127.0.0.1/ HTTP/1.1")],
    ["a port as the path", get("GET :80/ HTTP/1.1")],
    ["a path of 200 kB", get(`GET /${"a".repeat(200_000)} HTTP/1.1`)],
    ["no version", "GET /a\r\n\r\n"],
    ["version 2.0", get("GET /a HTTP/2.0")],
    ["version 1.11", get("GET /a HTTP/1.11")],
    ["another protocol", get("GET /a HTTQ/1.1")],
    ["a protocol in lower case", get("GET /a http/1.1")],
    ["HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["TLS", Buffer.from("1603010200010001fc0303", "hex")],
    ["rubbish", Uint8Array.from({ length: 4096 }, (_, i) => i * 131 + 7)],
    ["a method with a sign", get("G@T /a HTTP/1.1")],
    ["a method of 5 kB", get(`${"A".repeat(5_000)} /a HTTP/1.1`)],
    ["a tunnel", get("CONNECT public.test:80 HTTP/1.1")],
    [
      "40,000 headers",
      get("GET /a HTTP/1.1", ...Array.from({ length: 40_000 }, (_, i) => `h${i}: b`)),
    ],
  ])("%s", async (_, request) => {
    const { statuses, closed } = await send(request, { forMs: 5_000 });
    expect(closed).toBe(true);
    for (const status of statuses) expect(status).toBeGreaterThanOrEqual(400);
    expect(await seen()).toEqual([]);
  });

  test.each([
    ["without an end", "a".repeat(64 * 1024)],
    ["of ever more lines", "a: b\r\n".repeat(10_000)],
  ])("headers %s", async (_, piece) => {
    const begun = get("GET /a HTTP/1.1", "X-A: ").slice(0, -4);
    const { closed, sentBytes } = await sendUntilClosed(begun, piece, 32 * 1024 * 1024);
    expect(closed).toBe(true);
    expect(sentBytes).toBeLessThan(16 * 1024 * 1024);
    expect(await seen()).toEqual([]);
  });
});

describe("is answered with 400, and no worker sees it:", () => {
  test.each([
    ["no host", "GET /a HTTP/1.1\r\n\r\n"],
    ["two hosts", get("GET /a HTTP/1.1", "Host: localhost")],
    [
      "two hosts, the API's first",
      `GET /client/v4/user HTTP/1.1\r\nHost: localhost\r\nHost: ${HOST}\r\n\r\n`,
    ],
    ["a path in the host", `GET /a HTTP/1.1\r\nHost: ${HOST}/../b\r\n\r\n`],
    ["a query in the host", `GET /a HTTP/1.1\r\nHost: ${HOST}?b\r\n\r\n`],
    ["a user in the host", `GET /a HTTP/1.1\r\nHost: user@${HOST}\r\n\r\n`],
    ["no path", get("OPTIONS * HTTP/1.1")],
  ])("%s", async (_, request) => {
    expect((await send(request)).statuses).toEqual([400]);
    expect(await seen()).toEqual([]);
  });
});

describe("what follows a request whose length is said twice is no request:", () => {
  test.each([
    ["chunks and a length", ["Transfer-Encoding: chunked"], EMPTY_CHUNKED + SMUGGLED, 0],
    ["a tab", ["Transfer-Encoding:\tchunked"], EMPTY_CHUNKED + SMUGGLED, 0],
    ["a bare LF", ["X: y\nTransfer-Encoding: chunked"], EMPTY_CHUNKED + SMUGGLED, 0],
    [
      "a request in a chunk",
      ["Transfer-Encoding: chunked"],
      `${LENGTH.toString(16)}\r\n${SMUGGLED}\r\n${EMPTY_CHUNKED}`,
      LENGTH,
    ],
  ])("%s", async (_, headers, body, length) => {
    const request = post([...headers, `Content-Length: ${LENGTH}`], body);
    const { statuses, closed } = await send(request, { forMs: 5_000 });
    expect([statuses, closed]).toEqual([[200], true]);
    expect(await seen()).toEqual([`POST ${ORIGIN}/a ${length}`]);
  });
});

describe("a body is a body, not another request:", () => {
  const chunk = `${LENGTH.toString(16)}\r\n${SMUGGLED}\r\n${EMPTY_CHUNKED}`;
  test.each([
    [
      "of a GET",
      get("GET /a HTTP/1.1", `Content-Length: ${LENGTH}`) + SMUGGLED,
      "GET",
      "/a",
      LENGTH,
    ],
    [
      "that is not read",
      get("POST /unread HTTP/1.1", `Content-Length: ${LENGTH}`) + SMUGGLED,
      "POST",
      "/unread",
      0,
    ],
    [
      "in chunks that are not read",
      get("POST /unread HTTP/1.1", "Transfer-Encoding: chunked") + chunk,
      "POST",
      "/unread",
      0,
    ],
    [
      "whose length is called a matter of the connection",
      post(["Connection: Content-Length", `Content-Length: ${LENGTH}`], SMUGGLED),
      "POST",
      "/a",
      LENGTH,
    ],
    [
      "with trailers that look like headers",
      post(
        ["Transfer-Encoding: chunked"],
        "2\r\nhi\r\n0\r\nContent-Length: 50\r\nHost: localhost\r\n\r\n",
      ),
      "POST",
      "/a",
      2,
    ],
  ])("%s", async (_, request, method, path, length) => {
    expect((await send(request)).statuses).toEqual([200]);
    expect(await seen()).toEqual([`${method} ${ORIGIN}${path} ${length}`]);
  });
});

describe("a body that is broken never looks complete to a worker:", () => {
  const chunked = (body: string): string => post(["Transfer-Encoding: chunked"], body);
  test.each([
    ["a negative chunk", chunked(`-1\r\n${SMUGGLED}`)],
    ["a chunk of 2^64 bytes", chunked(`10000000000000000\r\n\r\n${SMUGGLED}`)],
    ["a chunk of 2^68 bytes", chunked(`fffffffffffffffff0\r\n\r\n${SMUGGLED}`)],
    ["a chunk's size with 0x", chunked("0x2\r\nhi\r\n0\r\n\r\n")],
    ["a chunk without a size", chunked("\r\nhi\r\n0\r\n\r\n")],
    ["chunks whose lines end in LF", chunked(`2\nhi\n0\n\n${SMUGGLED}`)],
    ["chunks whose lines end in CR", chunked(`2\rhi\r0\r\r${SMUGGLED}`)],
    ["a chunk longer than its size", chunked(`2\r\nhiXX0\r\n\r\n${SMUGGLED}`)],
    ["a chunk without its end", chunked(`2\r\nhi0\r\n\r\n${SMUGGLED}`)],
    ["a bare LF in a chunk's extension", chunked(`2;\nxx\r\n4c\r\n0\r\n\r\n${SMUGGLED}0\r\n\r\n`)],
  ])("%s", async (_, request) => {
    const { statuses, text, closed } = await send(request, { forMs: 5_000 });
    expect([statuses, closed]).toEqual([[400], true]);
    expect(text).toContain("body_incomplete");
    expect(await seen()).toEqual([]);
  });

  test.each([
    ["a chunk of 2^64 - 1 bytes", chunked(`ffffffffffffffff\r\n${SMUGGLED}`)],
    ["chunks that end too early", chunked("5\r\nhi")],
    ["no last chunk", chunked("2\r\nhi\r\n")],
    ["fewer bytes than were said", post(["Content-Length: 100"], "hi")],
  ])("%s", async (_, request) => {
    const { closed } = await send(request, { end: true, forMs: 5_000 });
    expect(closed).toBe(true);
    // One that just goes away, too.
    await send(request, { forMs: 100 });
    await sleep(100);
    expect(await seen()).toEqual([]);
  });
});

describe("is taken, as others take it:", () => {
  test.each([
    ["a length said twice", post(["Content-Length: 2", "Content-Length: 2"], "hi"), "POST /a 2"],
    [
      "an encoding in capitals",
      post(["Transfer-Encoding: CHUNKED"], "2\r\nhi\r\n0\r\n\r\n"),
      "POST /a 2",
    ],
    [
      "a chunk's extension",
      post(["Transfer-Encoding: chunked"], "2;a=b\r\nhi\r\n0\r\n\r\n"),
      "POST /a 2",
    ],
    ["lines that end in LF", `GET /a HTTP/1.1\nHost: ${HOST}\n\n`, "GET /a 0"],
    ["empty lines before it", `\r\n\r\n${get("GET /a HTTP/1.1")}`, "GET /a 0"],
    [
      "escapes of any kind",
      get("GET /%00%ff%c0%ae%2e%2e/%2f HTTP/1.1"),
      "GET /%00%ff%c0%ae%2e%2e/%2f 0",
    ],
    ["a header of 300 kB", get("GET /a HTTP/1.1", `X-A: ${"a".repeat(300_000)}`), "GET /a 0"],
    [
      "10,000 headers",
      get("GET /a HTTP/1.1", ...Array.from({ length: 10_000 }, (_, i) => `h${i}: b`)),
      "GET /a 0",
    ],
    [
      "bytes past ASCII in a header",
      Buffer.from(get("GET /a HTTP/1.1", "X-A: \xff\xfe"), "latin1"),
      "GET /a 0",
    ],
  ])("%s", async (_, request, expected) => {
    expect((await send(request)).statuses).toEqual([200]);
    const [method, path, length] = expected.split(" ");
    expect(await seen()).toEqual([`${method} ${ORIGIN}${path} ${length}`]);
  });

  test("a whole URL, by the Host header beside it", async () => {
    const toWorker = `GET http://localhost/client/v4/user HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;
    expect((await send(toWorker)).statuses).toEqual([200]);
    expect(await seen()).toEqual([`GET ${ORIGIN}/client/v4/user 0`]);
    const toApi = `GET ${ORIGIN}/client/v4/user HTTP/1.1\r\nHost: localhost\r\n\r\n`;
    expect((await send(toApi)).statuses).toEqual([401]);
    expect(await seen()).toEqual([]);
  });
});

describe("connections", () => {
  test("that send slowly keep no others waiting", async () => {
    const slow = openConnections(platform.port, 300);
    const text = get("GET /slow HTTP/1.1", "Content-Length: 1000");
    try {
      for (const byte of text.slice(0, 30)) {
        for (const socket of slow) socket.write(byte);
        await sleep(50);
        const begun = Date.now();
        expect((await platform.fetchHost(HOST, "/good")).status).toBe(200);
        expect(Date.now() - begun).toBeLessThan(1_000);
      }
    } finally {
      for (const socket of slow) socket.destroy();
    }
    expect(await seen()).not.toContain(`GET ${ORIGIN}/slow 0`);
  });

  test("that come and go without a word cost nothing", async () => {
    for (let round = 0; round < 5; round++) {
      for (const socket of openConnections(platform.port, 200)) {
        socket.once("connect", () => (round % 2 ? socket.end() : socket.resetAndDestroy()));
      }
      expect((await platform.fetchHost(HOST, "/good")).status).toBe(200);
    }
  });

  test("whose client has said all get their answers still", async () => {
    const requests = Array.from({ length: 20 }, (_, i) => get(`GET /${i} HTTP/1.1`)).join("");
    const { statuses } = await send(requests, { end: true, forMs: 5_000 });
    expect(statuses).toEqual(Array(20).fill(200));
    expect(await seen()).toHaveLength(20);
  });

  test("that do not read what they asked for hold up nobody", async () => {
    const deaf = openConnections(platform.port, 30);
    try {
      for (const socket of deaf) socket.pause().write(get("GET /large HTTP/1.1"));
      for (let i = 0; i < 20; i++) {
        expect((await platform.fetchHost(HOST, "/good")).status).toBe(200);
        await sleep(25);
      }
    } finally {
      for (const socket of deaf) socket.destroy();
    }
    const inFlight = () => metric(platform, "mayfly_invocations_in_flight");
    await until(async () => (await inFlight()) === 0, 10_000);
  });
});

function sendUntilClosed(
  begun: string,
  piece: string,
  maxBytes: number,
): Promise<{ closed: boolean; sentBytes: number }> {
  return new Promise((resolve) => {
    const socket = connect(platform.port, "127.0.0.1");
    let sentBytes = 0;
    socket.write(begun);
    const sendMore = (): void => {
      while (sentBytes < maxBytes) {
        sentBytes += piece.length;
        if (!socket.write(piece)) {
          socket.once("drain", sendMore);
          return;
        }
      }
      socket.destroy();
      resolve({ closed: false, sentBytes });
    };
    socket.on("error", () => undefined);
    socket.on("close", () => resolve({ closed: true, sentBytes }));
    sendMore();
  });
}
