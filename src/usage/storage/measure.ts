import { keyPrefix } from "../../bindings/key-space.ts";
import { queueObject } from "../../bindings/queue/enqueue.ts";
import type { Backlog } from "../../bindings/queue/protocol.ts";
import type { Env } from "../../env.ts";
import { log } from "../../observe/log.ts";
import { shardOf } from "../../roles/contract.ts";
import { receive } from "../../roles/forward.ts";
import type { StorageKind } from "../prices/sheet.ts";
import type { StoredBytes } from "./protocol.ts";
import { addSamples, type Sample } from "./samples.ts";

const EVERY_MS = 60 * 60_000;
/** What a start has to do comes first. */
const FIRST_AFTER_MS = 60_000;
/** A measurement that is asked for may be so old. */
const FRESH_MS = 2_000;
/** Databases and queues asked at once. */
const PARALLEL = 8;

let dueAt: number | undefined;
let measuring: Promise<number> | undefined;
let measuredAt = 0;

/** Once an hour, measures what all accounts hold; to be called now and then. */
export async function measureNowAndThen(env: Env, ctx: ExecutionContext): Promise<void> {
  const now = Date.now();
  dueAt ??= now + FIRST_AFTER_MS;
  if (now < dueAt) return;
  try {
    await measureStorage(env, ctx);
  } catch (error) {
    log("error", "storage_not_measured", { message: String(error) });
  }
}

/** Measures it now, unless that has just been done. When it was done, in milliseconds since 1970. */
export async function measureStorage(env: Env, ctx: ExecutionContext): Promise<number> {
  if (Date.now() - measuredAt < FRESH_MS) return measuredAt;
  if (!measuring) {
    measuring = measure(env, ctx).finally(() => (measuring = undefined));
    // Others may wait for it, too: it must go on if the client of this one leaves.
    ctx.waitUntil(measuring.catch(() => undefined));
  }
  return measuring;
}

/** When it was done last; undefined if this process has not done it yet. */
export const lastMeasured = (): number | undefined => measuredAt || undefined;

/** An account's part of what is measured; undefined: it could not be. */
interface Part {
  account_id: string;
  bytes: number | undefined;
}

type Measurement = (env: Env, ctx: ExecutionContext) => Promise<Part[]>;

async function measure(env: Env, ctx: ExecutionContext): Promise<number> {
  const at = Date.now();
  dueAt = at + EVERY_MS;
  const stored = await env.STORED?.fetch("http://stored").then((response) =>
    response.json<StoredBytes>(),
  );
  const kinds: Partial<Record<StorageKind, Measurement>> = {
    code: codeParts,
    d1: databaseParts,
    queues: queueParts,
    ...(stored && {
      kv: async () => prefixParts(env, "kv_namespaces", stored.kv),
      r2: async () => prefixParts(env, "buckets", stored.r2),
      logs: async () => logParts(env, stored.logs),
    }),
  };
  const { results } = await env.CATALOG.prepare("SELECT id FROM accounts").all<{ id: string }>();
  const accounts = results.map(({ id }) => id);
  const samples: Sample[] = [];
  for (const [kind, parts] of Object.entries(kinds)) {
    const sums = sumUp(accounts, await parts(env, ctx));
    for (const [account_id, bytes] of sums) {
      if (bytes !== undefined) samples.push({ account_id, kind: kind as StorageKind, at, bytes });
    }
  }
  await addSamples(env.CATALOG, samples);
  return (measuredAt = at);
}

/** Of an account of which a part is unknown nothing is known: what was known before is better. */
function sumUp(accounts: string[], parts: Part[]): Map<string, number | undefined> {
  const sums = new Map<string, number | undefined>(accounts.map((id) => [id, 0]));
  for (const { account_id, bytes } of parts) {
    const sum = sums.get(account_id);
    sums.set(account_id, sum === undefined || bytes === undefined ? undefined : sum + bytes);
  }
  return sums;
}

/** Modules of all versions; those that several of the account's have in common are kept once. */
const codeParts: Measurement = async (env) => {
  const { results } = await env.CATALOG.prepare(
    `SELECT account_id, sum(size) AS bytes FROM (
      SELECT DISTINCT account_id, module.value ->> 'hash' AS hash, module.value ->> 'size' AS size
      FROM scripts JOIN versions ON script_id = scripts.id, json_each(modules) module
    ) GROUP BY account_id`,
  ).all<{ account_id: string; bytes: number }>();
  return results;
};

const databaseParts: Measurement = async (env, ctx) => {
  const { results } = await env.CATALOG.prepare("SELECT id, account_id, shard FROM databases").all<{
    id: string;
    account_id: string;
    shard: number;
  }>();
  return eachOf(results, async ({ id, shard }) => {
    const { sizeBytes } = await receive(shardOf(env, ctx, shard).info(id));
    return sizeBytes;
  });
};

const queueParts: Measurement = async (env) => {
  const { results } = await env.CATALOG.prepare("SELECT id, account_id FROM queues").all<{
    id: string;
    account_id: string;
  }>();
  return eachOf(results, async ({ id }) => {
    const { backlogBytes } = await receive<Backlog>(queueObject(env, id).backlog());
    return backlogBytes;
  });
};

async function prefixParts(
  env: Env,
  table: "kv_namespaces" | "buckets",
  stored: Record<string, number>,
): Promise<Part[]> {
  const { results } = await env.CATALOG.prepare(`SELECT account_id, number FROM ${table}`).all<{
    account_id: string;
    number: number;
  }>();
  return results.map(({ account_id, number }) => ({
    account_id,
    bytes: stored[keyPrefix(number)] ?? 0,
  }));
}

async function logParts(env: Env, stored: Record<string, number>): Promise<Part[]> {
  const { results } = await env.CATALOG.prepare("SELECT id, account_id FROM scripts").all<{
    id: string;
    account_id: string;
  }>();
  return results.map(({ id, account_id }) => ({
    account_id,
    bytes: stored[env.LOGS.idFromName(id).toString()] ?? 0,
  }));
}

/** Asks for all, some at a time. */
async function eachOf<T extends { id: string; account_id: string }>(
  all: T[],
  ask: (one: T) => Promise<number>,
): Promise<Part[]> {
  const parts: Part[] = [];
  for (let at = 0; at < all.length; at += PARALLEL) {
    const some = all.slice(at, at + PARALLEL).map(async (one): Promise<Part> => {
      try {
        return { account_id: one.account_id, bytes: await ask(one) };
      } catch (error) {
        log("warn", "storage_unknown", { id: one.id, message: String(error) });
        return { account_id: one.account_id, bytes: undefined };
      }
    });
    parts.push(...(await Promise.all(some)));
  }
  return parts;
}
