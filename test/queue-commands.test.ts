import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { callApi } from "./harness/api.ts";
import { type Config, deploy, wranglerWith } from "./harness/deploy.ts";
import { fails, succeeds } from "./harness/expect-command.ts";
import { type Platform, startPlatform } from "./harness/platform.ts";

// Each queues command of the real wrangler, its effect checked through the API or the other way round.
let platform: Platform;
let project: string;
let consumerMain: string;
let plainMain: string;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "mayfly-queues-"));
  consumerMain = join(project, "consumer.js");
  await writeFile(consumerMain, "export default { fetch: () => new Response(), queue() {} };");
  plainMain = join(project, "plain.js");
  await writeFile(plainMain, "export default { fetch: () => new Response() };");
  platform = await startPlatform();
});

afterAll(async () => {
  await platform?.stop();
  await rm(project, { recursive: true, force: true });
});

const queues = (...args: string[]): Promise<string> =>
  succeeds(platform.wrangler(["queues", ...args], { cwd: project }));

const failing = (...args: string[]): Promise<string> =>
  fails(platform.wrangler(["queues", ...args], { cwd: project }));

/** A queue of the API, or undefined. */
// Each test knows what it looks at.
// oxlint-disable-next-line typescript/no-explicit-any
async function find(name: string): Promise<any> {
  const { result } = await callApi(
    platform,
    "GET",
    `/accounts/${platform.accountId}/queues?page=1&name=${name}`,
  );
  return result[0];
}

async function create(name: string): Promise<string> {
  const path = `/accounts/${platform.accountId}/queues`;
  const { result } = await callApi(platform, "POST", path, { queue_name: name });
  return result.queue_id as string;
}

it("queues create makes a queue with the settings given", async () => {
  const stdout = await queues("create", "made", "--delivery-delay-secs", "30");
  expect(stdout).toContain("Created queue 'made'");
  const made = await find("made");
  expect(made).toMatchObject({
    queue_id: expect.stringMatching(/^[\da-f]{32}$/) as string,
    settings: {
      delivery_delay: 30,
      message_retention_period: 345_600,
      delivery_paused: false,
    },
    producers: [],
    producers_total_count: 0,
    consumers: [],
    consumers_total_count: 0,
  });
  expect(Math.abs(Date.parse(made.created_on) - Date.now())).toBeLessThan(60_000);
});

it("queues create says if the name is taken or is none", async () => {
  await create("taken");
  expect(await failing("create", "taken")).toContain("Queue name 'taken' is already taken");
  expect(await failing("create", "no_spaces please")).toContain("queue_name");
});

it("deploys a producer and a consumer", async () => {
  await create("both");
  await deploy(platform, {
    name: "both-worker",
    main: consumerMain,
    queues: {
      producers: [{ binding: "Q", queue: "both" }],
      consumers: [{ queue: "both", max_batch_size: 3, max_batch_timeout: 1 }],
    },
  });
  expect(await find("both")).toMatchObject({
    producers: [{ type: "worker", script: "both-worker" }],
    consumers: [
      {
        type: "worker",
        script: "both-worker",
        settings: { batch_size: 3, max_wait_time_ms: 1000 },
      },
    ],
  });
});
