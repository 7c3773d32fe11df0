import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import type { Platform } from "../../test/harness/platform.ts";
import { createQueue, deployQueueWorker } from "../../test/harness/queue.ts";

const CODE = readFileSync(join(import.meta.dirname, "queue-worker.js"), "utf8");
const NAME = "bench-queue";
const COMPATIBILITY_DATE = "2026-07-01";
const MAX_BATCH_SIZE = 100;
const AT_ONCE = 4;
const DRAINED_WITHIN_MS = 120_000;

/** Something that serves `queue-worker.js`. */
export interface QueueTarget {
  /** What the worker answers to a path. */
  ask<T>(path: string): Promise<T>;
}

/** Messages per second. */
export interface QueueRates {
  inBatches: number;
  inSingly: number;
  out: number;
}

/**
 * Sends so many messages while the consumer is held up, by hundreds and then one by one, and then
 * lets it go: in and out are measured each on its own.
 */
export async function measureQueue({ ask }: QueueTarget, count: number): Promise<QueueRates> {
  const singles = count / 10;
  await ask("/close");
  const inBatchesMs = await ask<number>(`/batches?count=${count / 100}&at_once=${AT_ONCE}`);
  const inSinglyMs = await ask<number>(`/messages?count=${singles}&at_once=${AT_ONCE}`);
  const openedAt = await ask<number>("/open");
  const deadline = Date.now() + DRAINED_WITHIN_MS;
  for (;;) {
    const { handled, lastAt } = await ask<{ handled: number; lastAt: number }>("/read");
    if (handled >= count + singles) {
      return {
        inBatches: count / (inBatchesMs / 1000),
        inSingly: singles / (inSinglyMs / 1000),
        out: handled / ((lastAt - openedAt) / 1000),
      };
    }
    if (Date.now() > deadline) throw new Error(`${handled} of ${count + singles} messages came`);
    await sleep(100);
  }
}

/** Mayfly's queue, with one batch handled at a time or as many as it finds right. */
export async function mayflyQueue(
  platform: Platform,
  name: string,
  maxConcurrency: number | undefined,
): Promise<QueueTarget> {
  const queueId = await createQueue(platform, name);
  await deployQueueWorker(platform, {
    name,
    code: CODE,
    isolation: "shared",
    bindings: [
      { type: "queue", name: "QUEUE", queue_name: name },
      { type: "service", name: "COUNTER", service: name, entrypoint: "Counter" },
    ],
    consumes: [
      {
        queueId,
        settings: {
          batch_size: MAX_BATCH_SIZE,
          max_wait_time_ms: 0,
          ...(maxConcurrency && { max_concurrency: maxConcurrency }),
        },
      },
    ],
  });
  return {
    ask: async <T>(path: string) => {
      const response = await platform.fetchHost(`${name}.dev.localhost`, path);
      return toResult<T>(response);
    },
  };
}

/** Miniflare's queue, which it keeps in memory. */
export async function miniflareQueue(): Promise<QueueTarget & { stop(): Promise<void> }> {
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      log: new Log(LogLevel.ERROR),
      telemetry: { enabled: false },
      cf: false,
      name: NAME,
      modules: true,
      script: CODE,
      compatibilityDate: COMPATIBILITY_DATE,
      serviceBindings: { COUNTER: { name: NAME, entrypoint: "Counter" } },
      queueProducers: { QUEUE: NAME },
      queueConsumers: { [NAME]: { maxBatchSize: MAX_BATCH_SIZE, maxBatchTimeout: 0 } },
    }),
  );
  const url = await miniflare.ready;
  return {
    ask: async <T>(path: string) => toResult<T>(await fetch(new URL(path, url))),
    stop: () => miniflare.dispose(),
  };
}

async function toResult<T>(response: Response): Promise<T> {
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  return (await response.json()) as T;
}
