import { setTimeout as sleep } from "node:timers/promises";
import { Connection } from "./connection.ts";
import type { Target } from "./stage.ts";

/** What a server did under load. */
export interface Answered {
  perSecond: number;
  /** Milliseconds from request to answer of each. */
  latencies: number[];
}

const WARM_UP_SECONDS = 1;

/** What a server that was just started answers when its code has been compiled. */
export async function whenWarm(
  { port, request }: Target,
  connections: number,
  seconds: number,
): Promise<Answered> {
  await closedLoop(port, request, connections, WARM_UP_SECONDS);
  return closedLoop(port, request, connections, seconds);
}

// A process takes all connections that are there when it looks, so many at once could all be one process's.
const BETWEEN_CONNECTIONS_MS = 5;

/** What the server answers to so many connections, each sending at once again. */
async function closedLoop(
  port: number,
  request: Buffer,
  connections: number,
  seconds: number,
): Promise<Answered> {
  const begun = performance.now();
  const end = begun + seconds * 1000;
  const latencies: number[] = [];
  await Promise.all(
    Array.from({ length: connections }, async (_, index) => {
      await sleep(index * BETWEEN_CONNECTIONS_MS);
      const connection = await Connection.open(port);
      await keepBusy(connection).finally(() => connection.close());
    }),
  );
  return { perSecond: latencies.length / ((performance.now() - begun) / 1000), latencies };

  function keepBusy(connection: Connection): Promise<void> {
    return new Promise((resolve, reject) => {
      let sentAt = performance.now();
      const next = (error: Error | undefined): void => {
        if (error) return reject(error);
        const now = performance.now();
        latencies.push(now - sentAt);
        sentAt = now;
        if (now < end) connection.send(request, next);
        else resolve();
      };
      connection.send(request, next);
    });
  }
}

/** When requests come: in step, or as from many clients that know nothing of each other (Poisson). */
export type Arrivals = "evenly" | "at random";

/**
 * Milliseconds from request to answer at a rate that does not wait for the answers. Random moments
 * are the same in every run.
 */
export async function openLoop(
  port: number,
  request: Buffer,
  perSecond: number,
  arrivals: Arrivals,
  seconds: number,
): Promise<number[]> {
  const idle = await openConnections(port, 32);
  const latencies: number[] = [];
  const answers: Promise<void>[] = [];
  const random = randomNumbers(perSecond);
  const gap = (): number => (arrivals === "evenly" ? 1 : -Math.log(1 - random()));
  let due = performance.now();
  const end = due + seconds * 1000;
  while ((due += (gap() / perSecond) * 1000) < end) {
    const wait = due - performance.now();
    if (wait > 0) await sleep(wait);
    answers.push(measure(idle.pop()));
  }
  await Promise.all(answers);
  for (const connection of idle) connection.close();
  return latencies;

  async function measure(spare: Connection | undefined): Promise<void> {
    const begun = performance.now();
    const connection = spare ?? (await Connection.open(port));
    await connection.request(request);
    latencies.push(performance.now() - begun);
    idle.push(connection);
  }
}

/** New scripts are seldom called all at once, and what a first call leaves to be done is not the next one's. */
export const PAUSE_MS = 20;

/** Milliseconds from request to answer for each, one after the other with a pause between. */
export async function oneByOne(
  port: number,
  requests: Buffer[],
  pauseMs: number,
): Promise<number[]> {
  const connection = await Connection.open(port);
  const latencies: number[] = [];
  for (const request of requests) {
    await sleep(pauseMs);
    const begun = performance.now();
    await connection.request(request);
    latencies.push(performance.now() - begun);
  }
  connection.close();
  return latencies;
}

const openConnections = (port: number, count: number): Promise<Connection[]> =>
  Promise.all(Array.from({ length: count }, () => Connection.open(port)));

// Numbers from 0 to 1, the same for the same seed (mulberry32), so that no target is luckier.
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
