import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callApi, type Answer } from "./harness/api.ts";
import { wranglerWith } from "./harness/deploy.ts";
import { startPlatform, type CommandResult, type Platform } from "./harness/platform.ts";

const MAIN = join(import.meta.dirname, "workers/name/index.js");

let platform: Platform;
let zoneId: string;

beforeAll(async () => {
  platform = await startPlatform({
    env: { MAYFLY_ZONES: "example.com", MAYFLY_API_HOSTS: "api.example.com" },
  });
  const zones = await callApi(platform, "GET", "/zones?name=example.com");
  zoneId = zones.result[0].id;
});
afterAll(() => platform.stop());

/** Runs wrangler for a script whose answers begin with its name. */
const wrangler = (
  name: string,
  config: Record<string, unknown>,
  args: string[] = ["deploy"],
): Promise<CommandResult> =>
  wranglerWith(platform, { name, main: MAIN, vars: { NAME: name }, ...config }, args);

async function succeeds(command: Promise<CommandResult>): Promise<string> {
  const { code, stdout, stderr } = await command;
  expect(code, stdout + stderr).toBe(0);
  return stdout;
}

async function fails(command: Promise<CommandResult>): Promise<string> {
  const { code, stdout, stderr } = await command;
  expect(code, stdout + stderr).not.toBe(0);
  return stdout + stderr;
}

/** The name of the script that answers at the address, or the status if it is the platform. */
async function answerer(address: string): Promise<string | number> {
  const slash = address.indexOf("/");
  const response = await platform.fetchHost(address.slice(0, slash), address.slice(slash));
  const text = await response.text();
  return response.status === 200 ? (text.split(" ")[0] ?? "") : response.status;
}

const api = (method: string, path: string, body?: unknown): Promise<Answer> =>
  callApi(platform, method, path, body);
const scriptPath = (name: string): string =>
  `/accounts/${platform.accountId}/workers/scripts/${name}`;
const routesPath = (): string => `/zones/${zoneId}/workers/routes`;

describe("routes", () => {
  beforeAll(async () => {
    await succeeds(
      wrangler("site", {
        workers_dev: false,
        routes: ["example.com/*", { pattern: "*.example.com/*", zone_name: "example.com" }],
      }),
    );
    await succeeds(
      wrangler("images", {
        workers_dev: false,
        routes: [
          { pattern: "*.example.com/images/*", zone_id: zoneId },
          "example.com/images*",
          "a.example.com/exact",
        ],
      }),
    );
  });

  it.each([
    ["example.com/", "site"],
    ["EXAMPLE.com/", "site"],
    ["example.com./", "site"],
    ["www.example.com/any", "site"],
    ["a.b.example.com/any", "site"],
    ["example.com/images", "images"],
    ["example.com/images1/x?y", "images"],
    ["example.com/Images", "site"],
    ["www.example.com/images", "site"],
    ["www.example.com/images/cat", "images"],
    ["a.example.com/exact", "images"],
    ["a.example.com/exact?query", "site"],
    ["a.example.com/exactly", "site"],
    ["notexample.com/", 404],
    ["example.com.evil.net/", 404],
  ])("%s goes to %s", async (address, expected) => {
    expect(await answerer(address)).toBe(expected);
  });

  it("without a script keeps requests away from workers", async () => {
    const made = await api("POST", routesPath(), { pattern: "example.com/images/cat.png" });
    expect(made.result).toMatchObject({ pattern: "example.com/images/cat.png" });
    expect(await answerer("example.com/images/cat.png")).toBe(404);
    expect(await answerer("example.com/images/cat.png?x")).toBe("images");

    const path = `${routesPath()}/${made.result.id}`;
    await api("PUT", path, { pattern: "example.com/images/dog.png", script: "site" });
    expect(await answerer("example.com/images/cat.png")).toBe("images");
    expect(await answerer("example.com/images/dog.png")).toBe("site");
    await api("DELETE", path);
    expect(await answerer("example.com/images/dog.png")).toBe("images");
    expect((await api("GET", path)).status).toBe(404);
  });

  it("of another script are refused, and stay with it", async () => {
    const output = await fails(wrangler("thief", { workers_dev: false, route: "example.com/*" }));
    expect(output).toContain('"site" is already assigned to routes');
    const wanted = [{ pattern: "Example.com/*" }];
    expect(await api("PUT", `${scriptPath("images")}/routes`, wanted)).toMatchObject({
      status: 409,
      code: 10020,
    });
    expect(await answerer("example.com/")).toBe("site");
    expect(await answerer("example.com/images")).toBe("images");
  });

  it("are replaced as a whole by the next deploy", async () => {
    await succeeds(wrangler("moved", { workers_dev: false, routes: ["example.com/old"] }));
    await succeeds(wrangler("moved", { workers_dev: false, routes: ["example.com/new"] }));
    expect(await answerer("example.com/new")).toBe("moved");
    expect(await answerer("example.com/old")).toBe("site");
  });

  it("may be on the platform's own domain", async () => {
    await succeeds(wrangler("local", { workers_dev: false, routes: ["app.localhost/*"] }));
    expect(await answerer("app.localhost/")).toBe("local");
  });

  it("are listed with their scripts", async () => {
    const { result } = await api("GET", routesPath());
    expect(result).toContainEqual({
      id: expect.stringMatching(/^[0-9a-f]{32}$/),
      pattern: "*.example.com/images/*",
      script: "images",
    });
  });

  it.each([
    [{ pattern: "api.example.com/*", script: "site" }, 10022, "host of the API"],
    [{ pattern: "localhost/*", script: "site" }, 10022, "host of the API"],
    [{ pattern: "127.0.0.1/*", script: "site" }, 10022, "IP address"],
    [{ pattern: "example.com/*.jpg", script: "site" }, 10022, "only at its end"],
    [{ pattern: "example.com/?a=*", script: "site" }, 10022, "query"],
    [{ pattern: "example.com:81/*", script: "site" }, 10022, "no port"],
    [{ pattern: "other.net/*", script: "site" }, 10083, "not in zone"],
    [{ pattern: "*ple.com/*", script: "site" }, 10083, "not in zone"],
    [{ pattern: "site.dev.workers.dev/*", script: "site" }, 10038, "workers.dev"],
    [{ pattern: "example.com/free", script: "nobody" }, 10019, "no script"],
    [{ script: "site" }, 10022, "pattern"],
  ])("like %j are refused with %d", async (route, code, reason) => {
    const answer = await api("POST", routesPath(), route);
    expect(answer).toMatchObject({ code, message: expect.stringContaining(reason) });
  });

  it("outside the account's zones fail the deploy", async () => {
    const output = await fails(wrangler("away", { workers_dev: false, route: "example.net/*" }));
    expect(output).toContain("Could not find zone for `example.net`");
  });

  it("never take requests from the API", async () => {
    await api("POST", routesPath(), { pattern: "*api.example.com/*", script: "site" });
    const response = await platform.fetchHost("api.example.com", "/client/v4/user");
    expect(response.status).toBe(401);
    expect(await answerer("v2-api.example.com/client/v4/user")).toBe("site");
  });
});

describe("custom domains", () => {
  it("serve all paths, but what routes take", async () => {
    const shop = { pattern: "shop.example.com", custom_domain: true };
    expect(await succeeds(wrangler("shop", { routes: [shop] }))).toContain("shop.example.com");
    // The zone's wildcard route comes before it.
    expect(await answerer("shop.example.com/cart")).toBe("site");
    const zone = await api("POST", "/zones", {
      name: "example.org",
      account: { id: platform.accountId },
    });
    const domain = { pattern: "shop.example.org", custom_domain: true };
    await succeeds(wrangler("shop", { routes: [domain] }));
    expect(await answerer("shop.example.org/cart")).toBe("shop");
    expect(await answerer("x.shop.example.org/")).toBe(404);
    // A deploy names all of a script's custom domains.
    const { result } = await api("GET", `/accounts/${platform.accountId}/workers/domains`);
    expect(result).toMatchObject([{ hostname: "shop.example.org", service: "shop" }]);

    await succeeds(wrangler("cart", { workers_dev: false, routes: ["shop.example.org/cart/*"] }));
    expect(await answerer("shop.example.org/cart/1")).toBe("cart");
    expect(await answerer("shop.example.org/cart")).toBe("shop");

    // Without a terminal wrangler takes over what another script has.
    await succeeds(wrangler("heir", { routes: [domain] }));
    expect(await answerer("shop.example.org/")).toBe("heir");

    await api("DELETE", `/zones/${zone.result.id}`);
    expect(await answerer("shop.example.org/")).toBe(404);
    expect(await answerer("shop.example.org/cart/1")).toBe(404);
  });

  it("are taken from another script only if asked", async () => {
    const origins = [{ hostname: "one.example.com" }];
    const records = (name: string): string => `${scriptPath(name)}/domains/records`;
    await api("PUT", records("site"), { origins });
    expect(await api("PUT", records("images"), { origins })).toMatchObject({ status: 409 });
    const change = await api("POST", `${scriptPath("images")}/domains/changeset`, [
      ...origins,
      { hostname: "two.example.com" },
    ]);
    expect(change.result).toMatchObject({
      added: [{ hostname: "two.example.com", zone_name: "example.com" }],
      updated: [{ hostname: "one.example.com", service: "site", modified: true }],
      removed: [],
      conflicting: [],
    });
    const id = change.result.updated[0].id;
    const domain = `/accounts/${platform.accountId}/workers/domains/${id}`;
    expect((await api("DELETE", domain)).status).toBe(200);
    expect((await api("GET", domain)).status).toBe(404);
  });

  it.each([
    ["api.example.com", 10022],
    ["localhost", 10022],
    ["*.example.com", 10022],
    ["other.net", 10083],
    ["x.workers.dev", 10038],
  ])("cannot be %s", async (hostname, code) => {
    const path = `${scriptPath("site")}/domains/records`;
    expect(await api("PUT", path, { origins: [{ hostname }] })).toMatchObject({ code });
  });
});

describe("a script's own address", () => {
  it("is printed by wrangler and answers under both base domains", async () => {
    expect(await succeeds(wrangler("plain", {}))).toContain("plain.dev.localhost");
    expect(await answerer("plain.dev.localhost/")).toBe("plain");
    expect(await answerer("plain.dev.workers.dev/")).toBe("plain");
    expect(await answerer("plain.other.localhost/")).toBe(404);
    expect(await answerer("plain.localhost/")).toBe(404);
    expect(await answerer("x.plain.dev.localhost/")).toBe(404);
  });

  it("is gone with workers_dev = false, and back with true", async () => {
    await succeeds(wrangler("plain", { workers_dev: false }, ["triggers", "deploy"]));
    expect(await answerer("plain.dev.localhost/")).toBe(404);
    await succeeds(wrangler("plain", { workers_dev: true }, ["triggers", "deploy"]));
    expect(await answerer("plain.dev.localhost/")).toBe("plain");
  });

  it("follows the account's subdomain", async () => {
    const account = await api("POST", "/accounts", { name: "Mover", subdomain: "before" });
    const path = `/accounts/${account.result.id}/workers/subdomain`;
    expect((await api("PUT", path, { subdomain: "after" })).result).toEqual({ subdomain: "after" });
    expect((await api("GET", path)).result).toEqual({ subdomain: "after" });
    for (const subdomain of ["dev", "A", "a.b", "", "-a"]) {
      expect((await api("PUT", path, { subdomain })).status).not.toBe(200);
    }
    const own = `/accounts/${platform.accountId}/workers/subdomain`;
    expect(await api("PUT", own, { subdomain: "mine" })).toMatchObject({ code: 10036 });
  });
});

describe("preview addresses", () => {
  let preview: string;

  beforeAll(async () => {
    await succeeds(wrangler("prev", { preview_urls: true }));
    const output = await succeeds(
      wrangler("prev", { preview_urls: true, vars: { NAME: "newer" } }, [
        "versions",
        "upload",
        "--preview-alias",
        "stage",
      ]),
    );
    preview =
      /Version Preview URL: https?:\/\/([0-9a-f]{8}-prev\.dev\.localhost)/.exec(output)?.[1] ??
      output;
    expect(output).toContain("stage-prev.dev.localhost");
  });

  it("serve one version that is not deployed", async () => {
    expect(await answerer("prev.dev.localhost/")).toBe("prev");
    expect(await answerer(`${preview}/`)).toBe("newer");
    expect(await answerer("stage-prev.dev.localhost/")).toBe("newer");
    expect(await answerer("stage-prev.dev.workers.dev/")).toBe("newer");
    expect(await answerer("other-prev.dev.localhost/")).toBe(404);
    expect(await answerer("00000000-prev.dev.localhost/")).toBe(404);
  });

  it("stand behind a script of that name", async () => {
    await succeeds(wrangler("stage-prev", {}));
    expect(await answerer("stage-prev.dev.localhost/")).toBe("stage-prev");
  });

  it("are gone with preview_urls = false", async () => {
    await succeeds(wrangler("prev", { preview_urls: false }, ["triggers", "deploy"]));
    expect(await answerer(`${preview}/`)).toBe(404);
    expect(await answerer("prev.dev.localhost/")).toBe("prev");
  });
});

describe("triggers that are not built", () => {
  it.each([
    [
      "workflows",
      {
        main: join(import.meta.dirname, "workers/flow/index.js"),
        workflows: [{ binding: "FLOW", name: "flow", class_name: "Flow" }],
      },
    ],
  ])("fail the deploy, named as %s", async (field, config) => {
    const output = await fails(wrangler("unbuilt", config));
    expect(output).toContain(`${field}:`);
    expect(output).toContain("not supported by Mayfly yet");
  });

  it.each([
    ["PUT", "triggers/plain", "triggers.events:"],
    ["PUT", "workflows/flow", "workflows:"],
  ])("are named by %s %s", async (method, path, field) => {
    const answer = await api(method, `/accounts/${platform.accountId}/${path}`);
    expect(answer).toMatchObject({ status: 400, message: expect.stringContaining(field) });
  });

  it("but no crons at all are fine", async () => {
    await succeeds(wrangler("plain", { triggers: { crons: [] } }, ["triggers", "deploy"]));
  });
});

describe("zones", () => {
  it.each([
    "localhost",
    "single",
    "127.0.0.1",
    "a_b.example",
    "api.example.com",
    "workers.dev",
    "x.workers.dev",
    "-a.example",
    `${"a".repeat(64)}.example`,
    "",
  ])("cannot be called %j", async (name) => {
    const answer = await api("POST", "/zones", { name, account: { id: platform.accountId } });
    expect(answer).toMatchObject({ status: 400, code: 1049 });
  });

  it("that the settings name cannot be deleted, nor made again", async () => {
    expect(await api("DELETE", `/zones/${zoneId}`)).toMatchObject({ status: 409 });
    const again = { name: "Example.com", account: { id: platform.accountId } };
    expect(await api("POST", "/zones", again)).toMatchObject({ status: 409, code: 1061 });
  });

  it("that are closer to a host take it over", async () => {
    await succeeds(wrangler("inner", { workers_dev: false }));
    const inner = { name: "inner.example.com", account: { id: platform.accountId } };
    const zone = await api("POST", "/zones", inner);
    expect(await answerer("a.inner.example.com/")).toBe(404);
    const path = `/zones/${zone.result.id}/workers/routes`;
    await api("POST", path, { pattern: "*/*", script: "inner" });
    expect(await answerer("a.inner.example.com/")).toBe("inner");
    expect(await answerer("inner.example.com/")).toBe("inner");
    expect(await answerer("outer.example.com/")).toBe("site");
    const outer = { pattern: "inner.example.com/x", script: "inner" };
    expect(await api("POST", routesPath(), outer)).toMatchObject({ code: 10083 });
    await api("DELETE", `/zones/${zone.result.id}`);
    expect(await answerer("a.inner.example.com/")).toBe("site");
  });
});
