import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { callApi, type Answer } from "./harness/api.ts";
import { wranglerWith } from "./harness/deploy.ts";
import { fails, succeeds } from "./harness/expect-command.ts";
import { startPlatform, type CommandResult, type Platform } from "./harness/platform.ts";

const ENV = join(import.meta.dirname, "workers/env/index.js");
const UUID = /[0-9a-f]{8}-[0-9a-f-]{27}/;

let platform: Platform;
beforeAll(async () => {
  platform = await startPlatform();
});
afterAll(() => platform.stop());

// Each test has a script of its own.
let count = 0;
let name: string;
beforeEach(() => {
  name = `script${++count}`;
});

const run = (args: string[], input?: string, config: object = {}): Promise<CommandResult> =>
  wranglerWith(platform, { name, main: ENV, ...config }, args, input);
const wrangler = (args: string[], input?: string, config?: object): Promise<string> =>
  succeeds(run(args, input, config));
const api = (method: string, path: string, body?: unknown): Promise<Answer> =>
  callApi(platform, method, `/accounts/${platform.accountId}/workers/${path}`, body);

const put = (key: string, text: unknown): Promise<Answer> =>
  api("PUT", `scripts/${name}/secrets`, { name: key, text, type: "secret_text" });

async function variables(): Promise<unknown> {
  const response = await platform.fetchHost(`${name}.dev.localhost`);
  const text = await response.text();
  expect(response.status, text).toBe(200);
  return JSON.parse(text);
}

describe("wrangler secret", () => {
  it("put, list and delete change what runs", async () => {
    await wrangler(["deploy"]);
    await wrangler(["secret", "put", "KEY"], "first\n");
    expect(await variables()).toEqual({ KEY: "first" });
    await wrangler(["secret", "put", "KEY"], "grüße 🦋");
    await wrangler(["secret", "put", "MORE"], "more");
    expect(await variables()).toEqual({ KEY: "grüße 🦋", MORE: "more" });
    expect(JSON.parse(await wrangler(["secret", "list"]))).toEqual([
      { name: "KEY", type: "secret_text" },
      { name: "MORE", type: "secret_text" },
    ]);
    await wrangler(["secret", "delete", "KEY"]);
    expect(await variables()).toEqual({ MORE: "more" });
    const path = `scripts/${name}/secrets/KEY?url_encoded=true`;
    expect(await api("DELETE", path)).toMatchObject({ status: 404, code: 10056 });
  });

  it("bulk sets and removes several at once", async () => {
    await wrangler(["deploy"]);
    await wrangler(["secret", "bulk"], JSON.stringify({ A: "a", B: "b" }));
    expect(await variables()).toEqual({ A: "a", B: "b" });
    await wrangler(["secret", "bulk"], JSON.stringify({ A: null, C: "c" }));
    expect(await variables()).toEqual({ B: "b", C: "c" });
    const { result } = await api("GET", `scripts/${name}/versions`);
    expect(result.items).toHaveLength(3);
  });

  it("put makes a draft of a script that does not exist, which a deploy replaces", async () => {
    await wrangler(["secret", "put", "EARLY"], "bird");
    await wrangler(["deploy"]);
    expect(await variables()).toEqual({ EARLY: "bird" });
    name += "-bulk";
    await wrangler(["secret", "bulk"], JSON.stringify({ EARLY: "worm" }));
    await wrangler(["deploy"]);
    expect(await variables()).toEqual({ EARLY: "worm" });
  });

  it("put refuses as long as the latest version is not deployed", async () => {
    await wrangler(["deploy"]);
    await wrangler(["versions", "upload"]);
    expect(await fails(run(["secret", "put", "KEY"], "x"))).toContain("isn't currently deployed");
    expect(await put("KEY", "x")).toMatchObject({ code: 10215 });
    expect(await variables()).toEqual({});
  });

  it("put refuses the name of a variable, and what is no name", async () => {
    await wrangler(["deploy"], undefined, { vars: { TAKEN: "text" } });
    expect(await put("TAKEN", "x")).toMatchObject({
      code: 10053,
      message: expect.stringContaining("'TAKEN'"),
    });
    expect(await put("not-a-name", "x")).toMatchObject({ code: 10021 });
    expect(await put("LONG", "x".repeat(5121))).toMatchObject({ code: 10021 });
    expect(await put("NUMBER", 1)).toMatchObject({ code: 10021 });
    expect(await variables()).toEqual({ TAKEN: "text" });
  });

  it("list refuses a script that does not exist", async () => {
    expect(await api("GET", `scripts/${name}/secrets`)).toMatchObject({ status: 404, code: 10007 });
  });

  it("puts made at the same time all count", async () => {
    await wrangler(["deploy"]);
    const names = ["A", "B", "C", "D", "E"];
    const answers = await Promise.all(names.map((key) => put(key, key)));
    expect(answers.map(({ status }) => status)).toEqual(names.map(() => 200));
    expect(await variables()).toEqual(Object.fromEntries(names.map((key) => [key, key])));
  });
});

describe("wrangler versions secret", () => {
  it("put, bulk, delete and list change the next version, not what runs", async () => {
    await wrangler(["deploy"]);
    await wrangler(["versions", "secret", "put", "KEY", "--message", "m", "--tag", "t"], "next");
    await wrangler(["versions", "secret", "bulk"], JSON.stringify({ A: "a", B: "b" }));
    const output = await wrangler(["versions", "secret", "delete", "A"]);
    expect(await variables()).toEqual({});
    const latest = await wrangler(["versions", "secret", "list", "--latest-version"]);
    expect(latest).toContain("Secret Name: KEY");
    expect(latest).toContain("Secret Name: B");
    expect(latest).not.toContain("Secret Name: A");
    expect(await wrangler(["versions", "secret", "list"])).not.toContain("Secret Name");

    await wrangler(["versions", "deploy", `${UUID.exec(output)?.[0]}@100%`, "--yes"]);
    expect(await variables()).toEqual({ KEY: "next", B: "b" });
    const list = await wrangler(["versions", "list"]);
    expect(list).toMatch(/Source:\s+Secret Change\nTag:\s+t\nMessage:\s+m/);
  });
});

describe("secrets of a script", () => {
  it("may be required, and are asked for until they are there", async () => {
    const config = { secrets: { required: ["NEEDED"] } };
    await wrangler(["deploy"]);
    expect(await fails(run(["deploy"], undefined, config))).toContain(
      "The following required secrets have not been set: NEEDED",
    );
    await wrangler(["secret", "put", "NEEDED"], "here");
    await wrangler(["deploy"], undefined, config);
    expect(await variables()).toEqual({ NEEDED: "here" });
  });

  it("are never shown and nowhere in the data folder in clear", async () => {
    const secret = "correct-horse-battery-staple";
    await wrangler(["deploy"], undefined, { vars: { OPEN: "plainly-visible" } });
    await wrangler(["secret", "put", "KEY"], secret);
    expect(await variables()).toEqual({ OPEN: "plainly-visible", KEY: secret });
    for (const path of [`scripts/${name}/settings`, `scripts/${name}/versions`]) {
      const { result } = await api("GET", path);
      expect(JSON.stringify(result)).toContain("plainly-visible");
      expect(JSON.stringify(result)).not.toContain(secret);
    }
    const files = filesIn(platform.dataDir).map((file) => readFileSync(file));
    expect(files.some((bytes) => bytes.includes("plainly-visible"))).toBe(true);
    expect(files.some((bytes) => bytes.includes(secret))).toBe(false);
  });
});

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((file) => join(folder, file))
    .filter((file) => statSync(file).isFile());
}
