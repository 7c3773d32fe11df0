import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callApi } from "./harness/api.ts";
import { type Config, deploy, wranglerWith } from "./harness/deploy.ts";
import { fails, succeeds } from "./harness/expect-command.ts";
import { type CommandResult, type Platform, startPlatform } from "./harness/platform.ts";

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

const run = (command: string): Promise<CommandResult> =>
  platform.wrangler(["queues", ...command.split(" ")], { cwd: project });
const queues = (command: string): Promise<string> => succeeds(run(command));
const failing = (command: string): Promise<string> => fails(run(command));

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
  const stdout = await queues("create made --delivery-delay-secs 30");
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
  expect(await failing("create taken")).toContain("Queue name 'taken' is already taken");
  expect(await failing("create no.dots")).toContain("queue_name");
});

it("queues list prints names, ids and counts, page by page", async () => {
  const id = await create("listed");
  const stdout = await queues("list");
  expect(stdout).toContain("listed");
  expect(stdout).toContain(id);
  expect(await queues("list --page 2")).not.toContain("listed");
});

it("queues info prints the queue, its producers and consumers", async () => {
  const id = await create("informed");
  const settings = { queues: { producers: [{ binding: "Q", queue: "informed" }] } };
  await deploy(platform, { name: "informer", main: plainMain, ...settings });
  await queues("consumer http add informed");
  const stdout = await queues("info informed");
  expect(stdout).toContain(`Queue ID: ${id}`);
  expect(stdout).toContain("Number of Producers: 1");
  expect(stdout).toContain("worker:informer");
  expect(stdout).toContain("Number of Consumers: 1");
  expect(stdout).toContain("HTTP Pull Consumer");
  expect(await failing("info unheard-of")).toContain('Queue "unheard-of" does not exist');
});

it("queues update changes what it is given and leaves the rest", async () => {
  await create("updated");
  await queues("update updated --delivery-delay-secs 7");
  await queues("update updated --message-retention-period-secs 3600");
  expect((await find("updated")).settings).toEqual({
    delivery_delay: 7,
    message_retention_period: 3_600,
    delivery_paused: false,
  });
});

it("queues pause-delivery and resume-delivery", async () => {
  await create("paused");
  await queues("pause-delivery paused");
  expect((await find("paused")).settings.delivery_paused).toBe(true);
  await queues("resume-delivery paused");
  expect((await find("paused")).settings.delivery_paused).toBe(false);
});

it("queues purge removes the messages", async () => {
  const path = `/accounts/${platform.accountId}/queues/${await create("purged")}`;
  await callApi(platform, "POST", `${path}/messages`, { body: 1 });
  await queues("purge purged --force");
  expect((await callApi(platform, "GET", `${path}/metrics`)).result.backlog_count).toBe(0);
});

it("queues delete removes the queue, unless a worker is bound to it", async () => {
  await create("deleted");
  await queues("delete deleted");
  expect(await find("deleted")).toBeUndefined();
  expect(await failing("delete deleted")).toContain("does not exist");

  await create("bound");
  const bound = { producers: [{ binding: "Q", queue: "bound" }] };
  await deploy(platform, { name: "binder", main: plainMain, queues: bound });
  expect(await failing("delete bound")).toContain("binder");
  await succeeds(wranglerWith(platform, { name: "binder", main: plainMain }, ["delete"]));
  await queues("delete bound");
});

// With and without the word worker it is the same command.
it.each(["consumer worker", "consumer"])("queues %s add, list and remove", async (command) => {
  const name = command.replace(" ", "-");
  await create(name);
  await deploy(platform, { name: `${name}-script`, main: consumerMain });
  const target = `${name} ${name}-script`;
  await queues(
    `${command} add ${target} --batch-size 20 --batch-timeout 2 --message-retries 5 ` +
      "--dead-letter-queue dead --max-concurrency 3 --retry-delay-secs 4",
  );
  const { consumers } = await find(name);
  expect(consumers).toMatchObject([
    {
      type: "worker",
      script: `${name}-script`,
      dead_letter_queue: "dead",
      settings: {
        batch_size: 20,
        max_wait_time_ms: 2_000,
        max_retries: 5,
        max_concurrency: 3,
        retry_delay: 4,
      },
    },
  ]);
  const listed = await queues(`${command} list ${name}`);
  expect(listed).toContain(consumers[0].consumer_id);
  expect(listed).toContain(`${name}-script`);
  expect(await failing(`${command} add ${target}`)).toContain("already has a consumer");
  await queues(`${command} remove ${target}`);
  expect((await find(name)).consumers).toEqual([]);
  expect(await queues(`${command} list ${name}`)).toMatch(/No (worker )?consumers found/);
  expect(await failing(`${command} remove ${target}`)).toContain("No worker consumer");
});

it("queues consumer add says if the script cannot consume", async () => {
  await create("unconsumed");
  const add = "consumer worker add unconsumed";
  expect(await failing(`${add} nobody`)).toContain("nobody");
  await deploy(platform, { name: "deaf", main: plainMain });
  expect(await failing(`${add} deaf`)).toContain("Queue handler is missing");
});

it("queues consumer http add, list and remove", async () => {
  await create("pulled");
  await queues(
    "consumer http add pulled --batch-size 50 --message-retries 9 --dead-letter-queue dead " +
      "--visibility-timeout-secs 60 --retry-delay-secs 5",
  );
  const { consumers } = await find("pulled");
  expect(consumers).toMatchObject([
    {
      type: "http_pull",
      dead_letter_queue: "dead",
      settings: {
        batch_size: 50,
        max_retries: 9,
        visibility_timeout_ms: 60_000,
        retry_delay: 5,
      },
    },
  ]);
  const id = consumers[0].consumer_id as string;
  expect(await queues("consumer http list pulled")).toContain(id);
  expect(await queues("consumer list pulled")).toContain("HTTP pull consumers");
  await queues("consumer http remove pulled");
  expect((await find("pulled")).consumers).toEqual([]);
});

/** A worker with these producers and consumers. */
const stage = (queue: Record<string, unknown>, more: Partial<Config> = {}): Config => ({
  name: "stage",
  main: consumerMain,
  ...more,
  queues: queue,
});

const wrangler = (config: Config, ...args: string[]): Promise<string> =>
  succeeds(wranglerWith(platform, config, args.length > 0 ? args : ["deploy"]));

async function bindingsOf(script: string): Promise<unknown> {
  const path = `/accounts/${platform.accountId}/workers/scripts/${script}/settings`;
  return (await callApi(platform, "GET", path)).result.bindings;
}

describe("deploy", () => {
  it("makes the queues of producers, named or not, and finds them again", async () => {
    const producers = [{ binding: "MY_JOBS" }, { binding: "MAIL", queue: "stage-mail" }];
    await wrangler(stage({ producers }));
    const made = [
      { type: "queue", name: "MY_JOBS", queue_name: "stage-my-jobs" },
      { type: "queue", name: "MAIL", queue_name: "stage-mail" },
    ];
    expect(await bindingsOf("stage")).toEqual(made);
    const { queue_id, producers: scripts } = await find("stage-my-jobs");
    expect(scripts).toEqual([{ type: "worker", script: "stage" }]);

    // The second deploy inherits.
    await wrangler(stage({ producers }, { vars: { SECOND: "1" } }));
    expect(await bindingsOf("stage")).toEqual(expect.arrayContaining(made));
    expect((await find("stage-my-jobs")).queue_id).toBe(queue_id);
    // Not with a delay of its own, which a version keeps.
    await wrangler(stage({ producers: [{ ...producers[1], delivery_delay: 60 }] }));
    expect(await bindingsOf("stage")).toEqual([{ ...made[1], delivery_delay: 60 }]);
    expect((await find("stage-my-jobs")).producers).toEqual([]);
  });

  it("says that the queue of a consumer does not exist", async () => {
    const config = stage({ consumers: [{ queue: "stage-none" }] }, { name: "missing" });
    const output = await fails(wranglerWith(platform, config, ["deploy"]));
    expect(output).toContain('Queue "stage-none" does not exist');
    expect(output).toContain("queues create stage-none");
    const script = `/accounts/${platform.accountId}/workers/scripts/missing/settings`;
    expect(await callApi(platform, "GET", script)).toMatchObject({ code: 10007 });
  });

  it("adds a consumer, changes its settings, and leaves it when it is out of the file", async () => {
    await create("stage-jobs");
    const consumer = { queue: "stage-jobs", max_batch_size: 3, max_batch_timeout: 1 };
    const more = { max_retries: 1, dead_letter_queue: "stage-dead" };
    const stdout = await wrangler(stage({ consumers: [{ ...consumer, ...more }] }));
    expect(stdout).toContain("Consumer for stage-jobs");
    const [first] = (await find("stage-jobs")).consumers;
    expect(first).toMatchObject({
      script: "stage",
      dead_letter_queue: "stage-dead",
      settings: { batch_size: 3, max_wait_time_ms: 1_000, max_retries: 1 },
    });

    await wrangler(stage({ consumers: [{ ...consumer, max_concurrency: 5 }] }));
    const [second] = (await find("stage-jobs")).consumers;
    expect(second.consumer_id).toBe(first.consumer_id);
    expect(second.dead_letter_queue).toBeUndefined();
    expect(second.settings).toEqual({
      batch_size: 3,
      max_wait_time_ms: 1_000,
      max_retries: 3,
      max_concurrency: 5,
      retry_delay: 0,
    });

    const triggers = stage({ consumers: [{ queue: "stage-jobs", max_batch_size: 9 }] });
    await wrangler(triggers, "triggers", "deploy");
    const [third] = (await find("stage-jobs")).consumers;
    expect(third).toMatchObject({ consumer_id: first.consumer_id, settings: { batch_size: 9 } });

    await wrangler(stage({}));
    expect((await find("stage-jobs")).consumers).toEqual([third]);
  });

  it("names the setting that is out of range, and the queue that another script consumes", async () => {
    await create("stage-wrong");
    const wrong = { queue: "stage-wrong", max_batch_size: 101 };
    const output = await fails(wranglerWith(platform, stage({ consumers: [wrong] }), ["deploy"]));
    expect(output).toContain("settings.batch_size: got 101");
    await wrangler(stage({ consumers: [{ queue: "stage-wrong" }] }));
    const other = stage({ consumers: [{ queue: "stage-wrong" }] }, { name: "other" });
    expect(await fails(wranglerWith(platform, other, ["deploy"]))).toContain(
      "Queue 'stage-wrong' already has a consumer.",
    );
  });

  it("refuses a version that could not handle what it consumes", async () => {
    await create("stage-handled");
    await wrangler(stage({ consumers: [{ queue: "stage-handled" }] }, { name: "handler" }));
    const config = stage({}, { name: "handler", main: plainMain });
    for (const command of [["deploy"], ["versions", "upload"]]) {
      const output = await fails(wranglerWith(platform, config, command));
      expect(output).toContain("Queue handler is missing");
      expect(output).toContain("stage-handled");
    }
  });

  it("versions upload makes queues too, and has no consumers", async () => {
    await wrangler(stage({}, { name: "uploaded" }));
    const config = stage({ producers: [{ binding: "LATER" }] }, { name: "uploaded" });
    await wrangler(config, "versions", "upload");
    const queue = await find("uploaded-later");
    // It is no producer before it is deployed.
    expect(queue.producers).toEqual([]);
  });

  it("delete takes the consumer along and leaves the queue", async () => {
    await create("stage-left");
    await wrangler(stage({ consumers: [{ queue: "stage-left" }] }, { name: "gone" }));
    await wrangler(stage({}, { name: "gone" }), "delete");
    expect(await find("stage-left")).toMatchObject({ consumers: [], consumers_total_count: 0 });
  });
});
