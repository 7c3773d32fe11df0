import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { until } from "./harness/processes.ts";
import {
  backlogCount,
  createDatabase,
  createQueue,
  deployQueueWorker,
  query,
} from "./harness/queue.ts";

const KILLS = 20;
const LONGEST_LIFE_MS = 1_500;
const DRAINED_WITHIN_MS = 30_000;
const NAMES = ["own", "common"] as const;

// Says what it has handled and works on for a moment, so that it may be killed between that and
// the acknowledgement.
const WORKER = `
  export default {
    async fetch(request, env) {
      const numbers = await request.json();
      if (numbers.length === 1) await env.QUEUE.send(numbers[0]);
      else await env.QUEUE.sendBatch(numbers.map((body) => ({ body })));
      return new Response("accepted");
    },
    async queue(batch, env) {
      const handled = batch.messages.map(({ id, body }) => [body, id]);
      await env.DB.prepare(
        "INSERT INTO handled SELECT value ->> 0, value ->> 1 FROM json_each(?)",
      ).bind(JSON.stringify(handled)).run();
      await scheduler.wait(10);
    },
  };`;

const folder = mkdtempSync(join(tmpdir(), "mayfly-kill-"));
let platform: Platform;
let databaseId: string;
const queues: { name: string; id: string; deadLetterQueueId: string }[] = [];

beforeAll(async () => {
  platform = await startPlatform({ dataDir: folder });
  databaseId = await createDatabase(platform, "handled");
  await query(platform, databaseId, "CREATE TABLE handled (number INTEGER, id TEXT)");
  for (const name of NAMES) {
    const deadLetterQueueId = await createQueue(platform, `${name}-dead`);
    const id = await createQueue(platform, name);
    await deployQueueWorker(platform, {
      name,
      code: WORKER,
      isolation: name === "own" ? "request" : "shared",
      bindings: [
        { type: "queue", name: "QUEUE", queue_name: name },
        { type: "d1", name: "DB", id: databaseId },
      ],
      consumes: [
        {
          queueId: id,
          deadLetterQueue: `${name}-dead`,
          settings: { batch_size: 20, max_wait_time_ms: 50 },
        },
      ],
    });
    queues.push({ name, id, deadLetterQueueId });
  }
});
afterAll(async () => {
  await platform.stop();
  rmSync(folder, { recursive: true, force: true });
});

let nextNumber = 0;
const accepted: number[] = [];

/** Sends until told otherwise, and keeps what the platform has said yes to. */
async function produce(
  send: (numbers: number[]) => Promise<Response>,
  isOver: () => boolean,
): Promise<void> {
  for (let round = 0; !isOver(); round++) {
    const numbers = Array.from({ length: round % 3 === 0 ? 10 : 1 }, () => nextNumber++);
    try {
      const response = await send(numbers);
      await response.arrayBuffer();
      if (response.ok) accepted.push(...numbers);
      await sleep(10);
    } catch {
      // There is no platform at the moment: nobody can tell whether these were taken.
      await sleep(50);
    }
  }
}

test(
  "no accepted message is lost when the whole platform is killed, twenty times",
  { timeout: 180_000 },
  async () => {
    let isOver = false;
    const producers = queues.flatMap(({ name, id }) => {
      const throughBinding = (numbers: number[]): Promise<Response> =>
        platform.fetchHost(`${name}.dev.localhost`, "/", {
          method: "POST",
          body: JSON.stringify(numbers),
        });
      const throughApi = (numbers: number[]): Promise<Response> => {
        const messages = numbers.map((body) => ({ body, content_type: "json" }));
        const [path, body] =
          numbers.length === 1 ? ["messages", messages[0]] : ["messages/batch", { messages }];
        return platform.fetchApi(`/accounts/${platform.accountId}/queues/${id}/${path}`, {
          method: "POST",
          body: JSON.stringify(body),
        });
      };
      return [throughBinding, throughApi].map((send) => produce(send, () => isOver));
    });
    for (let kill = 0; kill < KILLS; kill++) {
      await sleep(Math.random() * LONGEST_LIFE_MS);
      await platform.kill();
      platform = await startPlatform({ dataDir: folder });
    }
    isOver = true;
    await Promise.all(producers);

    for (const { id } of queues) {
      await until(async () => (await backlogCount(platform, id)) === 0, DRAINED_WITHIN_MS);
    }
    for (const { deadLetterQueueId } of queues) {
      expect(await backlogCount(platform, deadLetterQueueId)).toBe(0);
    }
    const rows = await query<{ number: number; times: number; ids: number }>(
      platform,
      databaseId,
      "SELECT number, count(*) AS times, count(DISTINCT id) AS ids FROM handled GROUP BY number",
    );
    const handled = new Set(rows.map(({ number }) => number));
    const times = rows.reduce((sum, row) => sum + row.times, 0);
    console.log(
      `${KILLS} kills, ${accepted.length} messages accepted, ${handled.size} handled, ` +
        `${times - handled.size} of them again (${((100 * (times - handled.size)) / handled.size).toFixed(1)} %)`,
    );
    expect(accepted.length).toBeGreaterThan(KILLS * 20);
    expect(accepted.filter((number) => !handled.has(number))).toEqual([]);
    // A message that comes again has the id that it had.
    expect(rows.filter(({ ids }) => ids > 1)).toEqual([]);
  },
);
