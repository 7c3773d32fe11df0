import { callApi } from "./api.ts";
import { sendForm } from "./form.ts";
import type { ApiAccess, Platform } from "./platform.ts";

/** The result of an API call within the platform's account; throws if it fails. */
export async function account<T>(
  platform: ApiAccess,
  method: string,
  path: string,
  body?: unknown,
): Promise<T> {
  const answer = await callApi(platform, method, `/accounts/${platform.accountId}${path}`, body);
  if (answer.code !== undefined) {
    throw new Error(`${method} ${path}: ${answer.status} ${answer.code} ${answer.message}`);
  }
  return answer.result as T;
}

/** A worker to be deployed with its bindings, and the queues that it consumes. */
export interface QueueWorker {
  name: string;
  /** Source of the main module. */
  code: string;
  isolation: "request" | "shared";
  bindings?: Record<string, unknown>[];
  consumes?: {
    queueId: string;
    deadLetterQueue?: string;
    /** In the API's names and units. */
    settings: Record<string, number>;
  }[];
}

/** Deploys through the API, without the time that wrangler takes to start. */
export async function deployQueueWorker(
  platform: Platform,
  { name, code, isolation, bindings = [], consumes = [] }: QueueWorker,
): Promise<void> {
  const script = `/workers/scripts/${name}`;
  const path = `/accounts/${platform.accountId}${script}`;
  const metadata = { bindings, mayfly: { isolation } };
  const uploaded = await sendForm(platform, "PUT", path, metadata, { "index.js": code });
  if (uploaded.status !== 200) throw new Error(`${uploaded.code} ${uploaded.message}`);
  await account(platform, "POST", `${script}/subdomain`, { enabled: true });
  for (const { queueId, deadLetterQueue, settings } of consumes) {
    await account(platform, "POST", `/queues/${queueId}/consumers`, {
      type: "worker",
      script_name: name,
      settings,
      ...(deadLetterQueue && { dead_letter_queue: deadLetterQueue }),
    });
  }
}

/** Makes a queue and gives its id. */
export async function createQueue(platform: Platform, name: string): Promise<string> {
  const body = { queue_name: name };
  return (await account<{ queue_id: string }>(platform, "POST", "/queues", body)).queue_id;
}

/** How many messages wait in the queue. */
export async function backlogCount(platform: Platform, queueId: string): Promise<number> {
  const path = `/queues/${queueId}/metrics`;
  return (await account<{ backlog_count: number }>(platform, "GET", path)).backlog_count;
}

/** Makes a D1 database and gives its id. */
export async function createDatabase(platform: Platform, name: string): Promise<string> {
  return (await account<{ uuid: string }>(platform, "POST", "/d1/database", { name })).uuid;
}

/** Rows of one statement, of the database. */
export async function query<Row>(
  platform: Platform,
  databaseId: string,
  sql: string,
): Promise<Row[]> {
  const path = `/d1/database/${databaseId}/query`;
  const [result] = await account<{ results: Row[] }[]>(platform, "POST", path, { sql });
  return result?.results ?? [];
}
