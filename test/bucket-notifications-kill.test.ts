import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { callApi } from "./harness/api.ts";
import { freePort, type Platform, startPlatform } from "./harness/platform.ts";
import { until } from "./harness/processes.ts";

// The whole platform gets SIGKILL at random moments while clients put and delete objects.
const ROUNDS = 10;
const WRITERS = 8;
const MIN_LIFE_MS = 100;
const MAX_LIFE_MS = 900;

let folder: string;
let options: { dataDir: string; env: { PORT: string } };
let platform: Platform;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "mayfly-notifications-kill-"));
  options = { dataDir: join(folder, "data"), env: { PORT: String(await freePort()) } };
  platform = await startPlatform(options);
});

afterAll(async () => {
  await platform?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** What is known of an attempt to change an object. */
type Attempt = "acknowledged" | "cut short";
const puts = new Map<string, Attempt>();
const deletions = new Map<string, Attempt>();

const api = async (method: string, path: string, body?: unknown) => {
  const account = `/accounts/${platform.accountId}`;
  const { status, message, result } = await callApi(platform, method, account + path, body);
  expect(status, message).toBe(200);
  return result;
};

async function attempt(attempts: Map<string, Attempt>, key: string, init: RequestInit) {
  const path = `/accounts/${platform.accountId}/r2/buckets/killed/objects/${key}`;
  attempts.set(key, "cut short");
  const response = await platform.fetchApi(path, init);
  const { success } = (await response.json()) as { success: boolean };
  if (success) attempts.set(key, "acknowledged");
}

/** Puts objects, each of its own key, and deletes every third, until the platform is gone. */
async function write(round: number, writer: number): Promise<void> {
  try {
    for (let n = 0; ; n++) {
      const key = `${round}-${writer}-${n}`;
      await attempt(puts, key, { method: "PUT", body: "x".repeat((n % 5) * 20_000) });
      if (n % 3 === 0) await attempt(deletions, key, { method: "DELETE" });
    }
  } catch {
    // Cut short.
  }
}

/** Takes messages out of the queue until none come any more: how often each was seen. */
async function takeAll(queueId: string): Promise<Map<string, number>> {
  const seen = new Map<string, number>();
  let lastAt = Date.now();
  await until(async () => {
    const { messages } = await api("POST", `/queues/${queueId}/messages/pull`, { batch_size: 100 });
    for (const { body } of messages as { body: string }[]) {
      const { action, object } = JSON.parse(Buffer.from(body, "base64").toString());
      const change = `${action} ${object.key}`;
      seen.set(change, (seen.get(change) ?? 0) + 1);
    }
    const acks = messages.map(({ lease_id }: { lease_id: string }) => ({ lease_id }));
    if (acks.length > 0) {
      await api("POST", `/queues/${queueId}/messages/ack`, { acks });
      lastAt = Date.now();
    }
    return Date.now() - lastAt > 3000;
  }, 60_000);
  return seen;
}

async function listKeys(): Promise<Set<string>> {
  const keys = new Set<string>();
  for (let cursor = ""; ;) {
    const path = `/accounts/${platform.accountId}/r2/buckets/killed/objects?cursor=${cursor}`;
    const { result, result_info } = (await (await platform.fetchApi(path)).json()) as {
      result: { key: string }[];
      result_info: { cursor: string; is_truncated: boolean };
    };
    for (const { key } of result) keys.add(key);
    if (!result_info.is_truncated) return keys;
    cursor = encodeURIComponent(result_info.cursor);
  }
}

it("no crash loses a notification or makes one up", { timeout: 180_000 }, async () => {
  await api("POST", "/r2/buckets", { name: "killed" });
  const { queue_id: queueId } = await api("POST", "/queues", { queue_name: "killed" });
  await api("POST", `/queues/${queueId}/consumers`, { type: "http_pull" });
  await api("PUT", `/event_notifications/r2/killed/configuration/queues/${queueId}`, {
    rules: [{ actions: ["PutObject", "DeleteObject"] }],
  });

  for (let round = 0; round < ROUNDS; round++) {
    const writers = Array.from({ length: WRITERS }, (_, writer) => write(round, writer));
    await sleep(MIN_LIFE_MS + Math.random() * (MAX_LIFE_MS - MIN_LIFE_MS));
    await platform.kill();
    await Promise.all(writers);
    platform = await startPlatform(options);
  }

  const seen = await takeAll(queueId);
  const stored = await listKeys();
  const lost: string[] = [];
  const madeUp: string[] = [];
  for (const [key, put] of puts) {
    const happened = put === "acknowledged" || stored.has(key);
    if (happened && !seen.has(`PutObject ${key}`)) lost.push(`PutObject ${key}`);
    if (!happened && seen.has(`PutObject ${key}`)) madeUp.push(`PutObject ${key}`);
  }
  for (const [key, deletion] of deletions) {
    const happened = deletion === "acknowledged" || !stored.has(key);
    if (happened && !seen.has(`DeleteObject ${key}`)) lost.push(`DeleteObject ${key}`);
    if (!happened && seen.has(`DeleteObject ${key}`)) madeUp.push(`DeleteObject ${key}`);
  }
  const all = [...puts.values(), ...deletions.values()];
  const cutShort = all.filter((state) => state === "cut short").length;
  const copies = [...seen.values()].reduce((sum, times) => sum + times, 0);
  console.log(
    `${all.length} changes, ${cutShort} of them cut short, in ${ROUNDS} lives; ` +
      `${copies} messages, ${copies - seen.size} of them duplicates`,
  );
  expect({ lost, madeUp }).toEqual({ lost: [], madeUp: [] });
  expect(cutShort).toBeGreaterThan(ROUNDS);
});
