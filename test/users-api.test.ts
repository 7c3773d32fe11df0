import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { fetchWorker } from "./harness/worker-fetch.ts";

interface User {
  id: string;
  name: string;
  email: string;
  version: number;
  created_at: string;
  updated_at: string;
}
interface Page {
  users: User[];
  next_cursor: string | null;
}

const cwd = join(import.meta.dirname, "../workers/users-api");

let platform: Platform;
let address: string;

beforeAll(async () => {
  platform = await startPlatform();
  const stdout = await wrangler(["deploy"]);
  // wrangler prints addresses without port.
  const host = /^ +(users-api\.\S+)$/m.exec(stdout)?.[1];
  expect(host, stdout).toBeDefined();
  address = `http://${host}:${platform.port}`;
  await wrangler(["d1", "migrations", "apply", "DB", "--remote"]);
});
afterAll(() => platform.stop());

async function wrangler(args: string[]): Promise<string> {
  const { code, stdout, stderr } = await platform.wrangler(args, { cwd });
  expect(code, stdout + stderr).toBe(0);
  return stdout;
}

// Each test gets a user of its own, so that none depends on another.
let count = 0;
let user: User;
beforeEach(async () => {
  count++;
  const response = await send("POST", "/users", { name: "Ada", email: `ada${count}@example.com` });
  user = (await response.json()) as User;
});

function send(
  method: string,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
): Promise<Response> {
  return fetchWorker(new URL(path, address), {
    method,
    headers: { "content-type": "application/json", ...headers },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
}

async function problem(response: Response): Promise<[number, string, object | undefined]> {
  const { error } = (await response.json()) as { error: { code: string; fields?: object } };
  return [response.status, error.code, error.fields];
}

async function page(query: string): Promise<Page> {
  return (await (await send("GET", `/users${query}`)).json()) as Page;
}

describe("create", () => {
  it("answers the user and where it is", async () => {
    const email = `Grace.Hopper+${count}@Example.COM`;
    const response = await send("POST", "/users", { name: "  Grace Hopper 🐝 ", email });
    const created = (await response.json()) as User;
    expect(response.status).toBe(201);
    expect(response.headers.get("location")).toBe(`/users/${created.id}`);
    expect(response.headers.get("etag")).toBe('"1"');
    expect(created).toMatchObject({ name: "Grace Hopper 🐝", email: email.toLowerCase() });
    expect(Date.now() - Date.parse(created.created_at)).toBeLessThan(10_000);
    expect(await (await send("GET", `/users/${created.id}`)).json()).toEqual(created);
  });

  it("refuses an address that another user has, in any case of letters", async () => {
    const response = await send("POST", "/users", { name: "A", email: user.email.toUpperCase() });
    expect(await problem(response)).toEqual([409, "email_taken", { email: "another user has it" }]);
  });

  it("lets one of ten have an address that all ask for at once", async () => {
    const body = { name: "Race", email: `race${count}@example.com` };
    const responses = await Promise.all(
      Array.from({ length: 10 }, () => send("POST", "/users", body)),
    );
    const statuses = responses.map(({ status }) => status).toSorted((a, b) => a - b);
    expect(statuses).toEqual([201, ...Array.from({ length: 9 }, () => 409)]);
  });

  it("names each field that is wrong", async () => {
    const cases: [unknown, Record<string, string>][] = [
      [
        { name: " ", email: "ada" },
        { name: "must not be empty", email: "must be an email address" },
      ],
      [{ email: 7 }, { name: "must be a string", email: "must be a string" }],
      [
        { name: "n".repeat(101), email: `${"e".repeat(250)}@example.com` },
        { name: "must have at most 100 characters", email: "must have at most 254 characters" },
      ],
      [
        { name: "Ada", email: "a@example.com", admin: true },
        { body: "unknown: admin; allowed are name, email" },
      ],
      [[], { body: "must be a JSON object" }],
      [null, { body: "must be a JSON object" }],
    ];
    for (const [body, fields] of cases) {
      expect(await problem(await send("POST", "/users", body))).toEqual([
        422,
        "fields_invalid",
        fields,
      ]);
    }
  });

  it("refuses what is not JSON or too large", async () => {
    for (const body of ["", "{", "name=Ada"]) {
      expect(await problem(await send("POST", "/users", body))).toEqual([
        400,
        "body_invalid",
        undefined,
      ]);
    }
    const huge = { name: "n".repeat(100_000), email: "n@example.com" };
    expect(await problem(await send("POST", "/users", huge))).toEqual([
      413,
      "body_too_large",
      undefined,
    ]);
  });
});

describe("read", () => {
  it("answers from the cache the second time", async () => {
    const first = await send("GET", `/users/${user.id}`);
    expect(first.headers.get("x-cache")).toBe("miss");
    expect(await first.json()).toEqual(user);
    const second = await send("GET", `/users/${user.id}`);
    expect(second.headers.get("x-cache")).toBe("hit");
    expect(await second.json()).toEqual(user);
  });

  it("does not answer from the cache what has changed since", async () => {
    await send("GET", `/users/${user.id}`);
    await send("PATCH", `/users/${user.id}`, { name: "Ada Lovelace" });
    const changed = await send("GET", `/users/${user.id}`);
    expect(changed.headers.get("x-cache")).toBe("miss");
    expect(await changed.json()).toMatchObject({ name: "Ada Lovelace", version: 2 });
    await send("DELETE", `/users/${user.id}`);
    expect((await send("GET", `/users/${user.id}`)).status).toBe(404);
  });

  it("spares the body if the client has it already", async () => {
    const fresh = await send("GET", `/users/${user.id}`, undefined, { "if-none-match": '"1"' });
    expect([fresh.status, await fresh.text()]).toEqual([304, ""]);
    const stale = await send("GET", `/users/${user.id}`, undefined, { "if-none-match": '"0"' });
    expect(stale.status).toBe(200);
  });

  it("knows only the ids it has given", async () => {
    for (const id of [crypto.randomUUID(), "x", "'", "%00", "ü".repeat(100)]) {
      expect(await problem(await send("GET", `/users/${id}`))).toEqual([
        404,
        "not_found",
        undefined,
      ]);
    }
  });
});

describe("list", () => {
  it("gives every user once, oldest first, in pages", async () => {
    await Promise.all(
      Array.from({ length: 25 }, (_, i) =>
        send("POST", "/users", { name: `User ${i}`, email: `list${count}-${i}@example.com` }),
      ),
    );
    const seen: User[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const { users, next_cursor }: Page = await page(`?limit=7${cursor && `&cursor=${cursor}`}`);
      expect(users.length).toBe(next_cursor ? 7 : users.length);
      seen.push(...users);
      cursor = next_cursor;
    }
    expect(seen.length).toBeGreaterThan(25);
    expect(new Set(seen.map(({ id }) => id)).size).toBe(seen.length);
    const times = seen.map(({ created_at }) => created_at);
    expect(times).toEqual(times.toSorted());
    expect((await page("?limit=100")).users).toEqual(seen);
  });

  it("goes on after a user that was deleted meanwhile", async () => {
    const [first, second] = (await page("?limit=2")).users;
    const { next_cursor } = await page("?limit=1");
    await send("DELETE", `/users/${first?.id}`);
    const { users } = await page(`?limit=1&cursor=${next_cursor}`);
    expect(users).toEqual([second]);
  });

  it("refuses other limits and cursors", async () => {
    for (const limit of ["0", "101", "-1", "1.5", "many", ""]) {
      const response = await send("GET", `/users?limit=${limit}`);
      expect(await problem(response)).toEqual([400, "limit_invalid", undefined]);
    }
    for (const cursor of ["", "%25", "bm9uZQ", "!!"]) {
      const response = await send("GET", `/users?cursor=${cursor}`);
      expect(await problem(response)).toEqual([400, "cursor_invalid", undefined]);
    }
  });
});

describe("update", () => {
  it("changes the given fields and leaves the others", async () => {
    const response = await send("PATCH", `/users/${user.id}`, { email: `new${count}@example.com` });
    expect(response.headers.get("etag")).toBe('"2"');
    expect(await response.json()).toMatchObject({
      name: "Ada",
      email: `new${count}@example.com`,
      version: 2,
      created_at: user.created_at,
    });
  });

  it("refuses to overwrite what it has not seen", async () => {
    const path = `/users/${user.id}`;
    const change = (version: string): Promise<Response> =>
      send("PATCH", path, { name: version }, { "if-match": version });
    expect((await change('"1"')).status).toBe(200);
    expect(await problem(await change('"1"'))).toEqual([412, "changed_meanwhile", undefined]);
    expect(await problem(await change("1"))).toEqual([400, "if_match_invalid", undefined]);
    expect((await change('"2"')).status).toBe(200);
    expect((await change("*")).status).toBe(200);
  });

  it("lets one of ten through that all change the same version at once", async () => {
    const responses = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        send("PATCH", `/users/${user.id}`, { name: `Name ${i}` }, { "if-match": '"1"' }),
      ),
    );
    expect(responses.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(responses.filter(({ status }) => status === 412)).toHaveLength(9);
  });

  it("refuses an address that another user has", async () => {
    await send("POST", "/users", { name: "B", email: `b${count}@example.com` });
    const change = { email: `b${count}@example.com` };
    expect((await problem(await send("PATCH", `/users/${user.id}`, change)))[1]).toBe(
      "email_taken",
    );
  });

  it("asks for something to change, of a user that exists", async () => {
    expect(await problem(await send("PATCH", `/users/${user.id}`, {}))).toEqual([
      422,
      "fields_invalid",
      { body: "must have name or email" },
    ]);
    const missing = await send("PATCH", `/users/${crypto.randomUUID()}`, { name: "Nobody" });
    expect((await problem(missing))[1]).toBe("not_found");
  });
});

describe("delete", () => {
  it("removes the user, once", async () => {
    const response = await send("DELETE", `/users/${user.id}`);
    expect([response.status, await response.text()]).toEqual([204, ""]);
    expect((await problem(await send("DELETE", `/users/${user.id}`)))[1]).toBe("not_found");
    const again = await send("POST", "/users", { name: "Ada", email: user.email });
    expect(again.status).toBe(201);
  });

  it("leaves a user that has changed meanwhile", async () => {
    const headers = { "if-match": '"0"' };
    const response = await send("DELETE", `/users/${user.id}`, undefined, headers);
    expect((await problem(response))[1]).toBe("changed_meanwhile");
    expect((await send("GET", `/users/${user.id}`)).status).toBe(200);
  });
});

describe("CORS", () => {
  const origin = "https://app.example";

  it("answers preflights and lets pages read answers, errors too", async () => {
    const preflight = await send("OPTIONS", `/users/${user.id}`, undefined, {
      origin,
      "access-control-request-method": "PATCH",
      "access-control-request-headers": "content-type,if-match",
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-origin")).toBe("*");
    expect(preflight.headers.get("access-control-allow-methods")).toContain("PATCH");
    expect(preflight.headers.get("access-control-allow-headers")).toContain("if-match");
    for (const path of [`/users/${user.id}`, "/users/none", "/none"]) {
      const response = await send("GET", path, undefined, { origin });
      expect(response.headers.get("access-control-allow-origin"), path).toBe("*");
      expect(response.headers.get("access-control-expose-headers"), path).toContain("etag");
    }
  });

  it("can be kept to some origins by a variable of the deployment", async () => {
    await wrangler(["deploy", "--var", `ALLOWED_ORIGINS:https://a.example,${origin}`]);
    const allowed = await send("GET", "/users", undefined, { origin });
    expect(allowed.headers.get("access-control-allow-origin")).toBe(origin);
    const other = await send("GET", "/users", undefined, { origin: "https://b.example" });
    expect(other.headers.get("access-control-allow-origin")).toBeNull();
    // The second deployment took over the resources that the first one made.
    expect(await (await send("GET", `/users/${user.id}`)).json()).toEqual(user);
  });
});
