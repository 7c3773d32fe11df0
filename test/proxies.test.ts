import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { upload } from "./harness/upload.ts";

const ECHO = `export default {
  fetch(request) {
    const header = (name) => request.headers.get(name);
    return Response.json({
      url: request.url,
      ip: header("cf-connecting-ip"),
      for: header("x-forwarded-for"),
      proto: header("x-forwarded-proto"),
    });
  },
};`;

/** What the worker sees of a request that comes from 127.0.0.1 with these headers. */
type See = (headers?: Record<string, string>) => Promise<Record<string, string>>;

async function start(trusted?: string): Promise<[Platform, See]> {
  const env = { MAYFLY_EXECUTORS: "1", ...(trusted && { MAYFLY_TRUSTED_PROXIES: trusted }) };
  const platform = await startPlatform({ env });
  await upload(platform, { name: "echo", code: ECHO, isolation: "shared" });
  const see: See = async (headers = {}) => {
    const response = await platform.fetchHost("echo.dev.localhost", "/path?q", { headers });
    return (await response.json()) as Record<string, string>;
  };
  return [platform, see];
}

const FORGED = { "x-forwarded-for": "198.51.100.7", "x-forwarded-proto": "https" };

describe.each([
  ["with none", undefined],
  ["with others", "127.0.0.2, 10.0.0.0/8, ::1, 2001:db8::/32"],
])("%s trusted, what a client says is overwritten", (_, trusted) => {
  let platform: Platform;
  let see: See;
  beforeAll(async () => {
    [platform, see] = await start(trusted);
  });
  afterAll(() => platform?.stop());

  test("in both headers", async () => {
    const expected = { ip: "127.0.0.1", for: "127.0.0.1", proto: "http" };
    expect(await see({ ...FORGED, "cf-connecting-ip": "198.51.100.7" })).toMatchObject(expected);
    const seen = await see();
    expect(seen).toMatchObject(expected);
    expect(seen["url"]).toBe(`http://echo.dev.localhost:${platform.port}/path?q`);
  });
});

describe("from a trusted proxy", () => {
  let platform: Platform;
  let see: See;
  beforeAll(async () => {
    [platform, see] = await start("127.0.0.0/8, 10.0.0.0/8, 2001:db8::/32");
  });
  afterAll(() => platform?.stop());

  test("address and scheme are the client's", async () => {
    const seen = await see(FORGED);
    expect(seen).toMatchObject({ ip: "198.51.100.7", for: "198.51.100.7", proto: "https" });
    expect(seen["url"]).toBe(`https://echo.dev.localhost:${platform.port}/path?q`);
  });

  test("the client is the last address that is no proxy's, whatever it says itself", async () => {
    for (const [forwardedFor, ip] of [
      ["203.0.113.1, 198.51.100.7", "198.51.100.7"],
      ["203.0.113.1, 198.51.100.7, 10.1.2.3, 2001:db8::5", "198.51.100.7"],
      ["10.9.9.9, 10.1.2.3", "10.9.9.9"],
      ["2a00:1::7", "2a00:1::7"],
      ["::ffff:198.51.100.7", "::ffff:198.51.100.7"],
      ["198.51.100.7:4321", "198.51.100.7"],
      ["[2a00:1::7]:4321", "2a00:1::7"],
      ["198.51.100.7, unknown, 10.1.2.3", "10.1.2.3"],
      ["unknown", "127.0.0.1"],
      ["300.1.1.1", "127.0.0.1"],
      ["", "127.0.0.1"],
    ] as const) {
      const seen = await see({ "x-forwarded-for": forwardedFor });
      expect([seen["ip"], seen["for"]], forwardedFor).toEqual([ip, ip]);
    }
  });

  test("a scheme that is none changes nothing", async () => {
    expect(await see({ "x-forwarded-proto": "ftp" })).toMatchObject({ proto: "http" });
    expect(await see({ "x-forwarded-proto": "https, http" })).toMatchObject({ proto: "http" });
    expect(await see({})).toMatchObject({ ip: "127.0.0.1", proto: "http" });
  });

  test("bodies pass through", async () => {
    const code = `export default { fetch: (request) => new Response(request.body) };`;
    await upload(platform, { name: "body", code, isolation: "shared" });
    const body = "x".repeat(200_000);
    const init = { method: "POST", body, headers: FORGED };
    const response = await platform.fetchHost("body.dev.localhost", "/", init);
    expect(await response.text()).toBe(body);
  });
});

test("what is neither an address nor a network is refused at start", async () => {
  for (const value of ["proxy.example.com", "10.0.0.0/33", "10.0.0", "::1/129", "1.2.3.4/"]) {
    await expect(startPlatform({ env: { MAYFLY_TRUSTED_PROXIES: value } })).rejects.toThrow(
      `MAYFLY_TRUSTED_PROXIES: got ${JSON.stringify(value)}, must be IP addresses and networks`,
    );
  }
});
