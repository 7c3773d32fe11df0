import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { callApi, type Answer } from "./harness/api.ts";
import { wranglerWith } from "./harness/deploy.ts";
import { fails, succeeds } from "./harness/expect-command.ts";
import { sendForm } from "./harness/form.ts";
import { startPlatform, type Platform } from "./harness/platform.ts";

const ENV = join(import.meta.dirname, "workers/env/index.js");

let platform: Platform;
beforeAll(async () => {
  platform = await startPlatform();
});
afterAll(() => platform.stop());

// Each test has a script of its own.
let count = 0;
let name: string;
let host: string;
beforeEach(() => {
  name = `script${++count}`;
  host = `${name}.dev.localhost`;
});

const api = (method: string, path: string, body?: unknown): Promise<Answer> =>
  callApi(platform, method, `/accounts/${platform.accountId}/workers/scripts/${name}${path}`, body);

/** Runs wrangler for the test's script, whose answer tells its variables, `V` among them. */
const wrangler = (args: string[], v?: string, input?: string): Promise<string> =>
  succeeds(wranglerWith(platform, configOf(v), args, input));
const configOf = (v?: string): { name: string; main: string } => ({
  name,
  main: ENV,
  ...(v && { vars: { V: v } }),
});

/** The id of the version that wrangler says it made. */
async function made(command: Promise<string>): Promise<string> {
  const output = await command;
  const id = /Version ID:\s+([0-9a-f-]{36})/.exec(output)?.[1];
  if (!id) throw new Error(`no version id in:\n${output}`);
  return id;
}
const deploy = (v: string): Promise<string> => made(wrangler(["deploy"], v));
const upload = (v: string, ...args: string[]): Promise<string> =>
  made(wrangler(["versions", "upload", ...args], v));

async function variables(at = host): Promise<Record<string, string>> {
  const response = await platform.fetchHost(at);
  expect(response.status).toBe(200);
  return (await response.json()) as Record<string, string>;
}

describe("wrangler versions", () => {
  it("upload makes a version that only its preview address reaches", async () => {
    await deploy("live");
    const id = await upload(
      "next",
      "--tag",
      "v2",
      "--message",
      "The next",
      "--preview-alias",
      "beta",
    );
    expect(await variables()).toEqual({ V: "live" });
    expect(await variables(`${id.slice(0, 8)}-${host}`)).toEqual({ V: "next" });
    expect(await variables(`beta-${host}`)).toEqual({ V: "next" });

    const view = await wrangler(["versions", "view", id]);
    for (const text of [id, "v2", "The next", "fetch", "2026-07-01", "env.V", "root"]) {
      expect(view).toContain(text);
    }
    const list = await wrangler(["versions", "list"]);
    expect(list.match(/Version ID:/g)).toHaveLength(2);
    expect(list).toMatch(/Source:\s+Upload\nTag:\s+v2\nMessage:\s+The next/);
  });

  it("upload prints the preview address", async () => {
    await deploy("live");
    const output = await wrangler(["versions", "upload"], "next");
    expect(output).toMatch(
      new RegExp(`Version Preview URL: https://[0-9a-f]{8}-${host}:${platform.port}`),
    );
  });

  it("upload refuses a script that does not exist", async () => {
    const output = await fails(wranglerWith(platform, configOf(), ["versions", "upload"]));
    expect(output).toContain("Please run the `deploy` command first");
    const path = `/accounts/${platform.accountId}/workers/scripts/${name}/versions`;
    expect(await sendForm(platform, "POST", path, {})).toMatchObject({ status: 404, code: 10007 });
  });

  it("deploy sends traffic to a version, and splits it by percentages", async () => {
    const a = await deploy("a");
    const b = await upload("b");
    await wrangler(["versions", "deploy", `${b}@100%`, "--yes", "--message", "Go"]);
    expect(await variables()).toEqual({ V: "b" });

    await wrangler(["versions", "deploy", `${a}@50%`, `${b}@50%`, "--yes"]);
    const seen: Record<string, number> = {};
    for (let i = 0; i < 400; i++) {
      const { V = "" } = await variables();
      seen[V] = (seen[V] ?? 0) + 1;
    }
    // Further off than six standard deviations would be no accident.
    expect(Object.keys(seen).sort()).toEqual(["a", "b"]);
    expect(seen["a"]).toBeGreaterThan(140);
    expect(seen["a"]).toBeLessThan(260);

    const status = await wrangler(["deployments", "status"]);
    expect(status).toMatch(new RegExp(`\\(50%\\) ${a}`));
    expect(status).toMatch(new RegExp(`\\(50%\\) ${b}`));
    const list = await wrangler(["deployments", "list"]);
    expect(list.match(/Created:/g)?.length).toBeGreaterThanOrEqual(3);
    expect(list).toContain("Message:     Go");
  });

  it("are refused a deployment that makes no sense", async () => {
    const id = await deploy("a");
    const other = await upload("b");
    const third = await upload("c");
    const refusal = (versions: [string, number][]): Promise<Answer> =>
      api("POST", "/deployments", {
        strategy: "percentage",
        versions: versions.map(([version_id, percentage]) => ({ version_id, percentage })),
      });
    const sum = { code: 10021, message: expect.stringContaining("100") };
    expect(await refusal([[id, 99]])).toMatchObject(sum);
    expect(await refusal([[id, 60], [other, 60]])).toMatchObject(sum); // prettier-ignore
    expect(await refusal([[id, -1], [other, 101]])).toMatchObject({ code: 10021 }); // prettier-ignore
    expect(await refusal([[id, 50], [id, 50]])).toMatchObject({ code: 10021 }); // prettier-ignore
    expect(await refusal([[id, 30], [other, 30], [third, 40]])).toMatchObject({ code: 10021 }); // prettier-ignore
    expect(await refusal([])).toMatchObject({ code: 10021 });

    // A version of another script.
    name = `${name}-other`;
    const foreign = await deploy("foreign");
    name = name.replace("-other", "");
    expect(await refusal([[foreign, 100]])).toMatchObject({ status: 404, code: 100146 });
    expect(await api("GET", `/versions/${foreign}`)).toMatchObject({ status: 404, code: 100146 });
    expect(await variables()).toEqual({ V: "a" });
  });
});

describe("wrangler rollback", () => {
  it("goes back to the version before, or to one that is named", async () => {
    const first = await deploy("1");
    await deploy("2");
    const third = await deploy("3");
    await wrangler(["rollback", "--yes"]);
    expect(await variables()).toEqual({ V: "2" });
    const output = await wrangler(["rollback", first, "--message", "Oh no", "--yes"]);
    expect(output).toContain(`Current Version ID: ${first}`);
    expect(await variables()).toEqual({ V: "1" });

    const list = await wrangler(["deployments", "list"]);
    expect(list).toMatch(/Source:\s+Rollback\nMessage:\s+Oh no/);
    await wrangler(["versions", "deploy", `${third}@100%`, "--yes"]);
    expect(await variables()).toEqual({ V: "3" });
  });

  it("asks first if secrets have changed since", async () => {
    const first = await deploy("1");
    await wrangler(["secret", "put", "KEY"], undefined, "new");
    const target = { versions: [{ version_id: first, percentage: 100 }] };
    expect(await api("POST", "/deployments", target)).toMatchObject({
      status: 400,
      code: 10220,
      message: expect.stringMatching(/The following secrets have changed: KEY$/),
    });
    expect(await variables()).toEqual({ V: "1", KEY: "new" });
    const output = await wrangler(["rollback", first, "--yes"]);
    expect(output).toContain("* KEY");
    expect(await variables()).toEqual({ V: "1" });
  });

  it("needs no question to end a canary", async () => {
    const first = await deploy("1");
    await wrangler(["versions", "secret", "put", "KEY"], undefined, "new");
    const { result } = await api("GET", "/versions");
    const canary = result.items[0].id;
    await wrangler(["versions", "deploy", `${first}@90%`, `${canary}@10%`, "--yes"]);
    await wrangler(["versions", "deploy", `${first}@100%`, "--yes"]);
    expect(await variables()).toEqual({ V: "1" });
  });
});

const post = (text: string): Promise<Answer> =>
  sendForm(platform, "POST", `/accounts/${platform.accountId}/workers/scripts/${name}/versions`, {
    bindings: [{ type: "plain_text", name: "V", text }],
  });

describe("an upload that is sent again", () => {
  it("gives the version that was made the first time, until that is deployed", async () => {
    await deploy("1");
    const first = await post("x");
    expect((await post("x")).result.id).toBe(first.result.id);
    expect((await post("y")).result.id).not.toBe(first.result.id);
    const again = await post("x");
    expect(again.result.id).not.toBe(first.result.id);
    await api("POST", "/deployments", {
      versions: [{ version_id: again.result.id, percentage: 100 }],
    });
    expect((await post("x")).result.id).not.toBe(again.result.id);
  });

  it("makes one version even at the same time", async () => {
    await deploy("1");
    const answers = await Promise.all(Array.from({ length: 5 }, () => post("x")));
    expect(new Set(answers.map(({ result }) => result.id)).size).toBe(1);
    expect((await api("GET", "/versions")).result.items).toHaveLength(2);
  });

  it("makes one version as a whole script too", async () => {
    const path = `/accounts/${platform.accountId}/workers/scripts/${name}`;
    const answers = await Promise.all([1, 2, 3].map(() => sendForm(platform, "PUT", path, {})));
    expect(new Set(answers.map(({ result }) => result.deployment_id)).size).toBe(1);
    expect((await api("GET", "/deployments")).result.deployments).toHaveLength(1);
  });

  it("is numbered after another that was made meanwhile", async () => {
    await deploy("1");
    await Promise.all(["a", "b", "c", "d"].map((text) => post(text)));
    const { result } = await api("GET", "/versions");
    expect(result.items.map((item: { number: number }) => item.number)).toEqual([5, 4, 3, 2, 1]);
  });
});

describe("listings of versions", () => {
  it("come in pages", async () => {
    const path = `/accounts/${platform.accountId}/workers/scripts/${name}`;
    for (const text of ["a", "b", "c"]) {
      const bindings = [{ type: "plain_text", name: "V", text }];
      await sendForm(platform, "PUT", path, { bindings });
    }
    const { result } = await api("GET", "/versions?page=2&per_page=2");
    expect(result.items.map((item: { number: number }) => item.number)).toEqual([1]);
    expect(await api("GET", "/versions?page=0")).toMatchObject({ status: 400, code: 10001 });
  });
});
