import { readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { callApi } from "./api.ts";
import { sendForm } from "./form.ts";
import type { ApiAccess } from "./platform.ts";
import { until } from "./processes.ts";

/** A run as the API shows it. */
export interface CronRun {
  script_name: string;
  cron: string;
  scheduled_time: number;
  caught_up: boolean;
  started_at: number | null;
  ended_at: number | null;
  outcome: string | null;
  error: string | null;
  tries: number;
  no_retry: boolean;
}

/** A script with crons. */
export interface CronWorker {
  name: string;
  /** Source of the main module. */
  code: string;
  crons: string[];
  /** `mayfly.cron_catch_up` */
  catchUp?: "latest" | "all" | "none";
  /** Id of the namespace that the worker finds as `env.KV`. */
  kv?: string;
}

/** Deploys the worker and sets its crons, without the time that wrangler takes to start. */
export async function deployCronWorker(platform: ApiAccess, worker: CronWorker): Promise<void> {
  const { name, code, crons, catchUp, kv } = worker;
  const metadata = {
    bindings: kv ? [{ type: "kv_namespace", name: "KV", namespace_id: kv }] : [],
    mayfly: { isolation: "shared", ...(catchUp && { cron_catch_up: catchUp }) },
  };
  const path = `/accounts/${platform.accountId}/workers/scripts/${name}`;
  const sent = await sendForm(platform, "PUT", path, metadata, { "index.js": code });
  if (sent.status !== 200) throw new Error(`${name}: ${sent.code} ${sent.message}`);
  const body = crons.map((cron) => ({ cron }));
  const set = await callApi(platform, "PUT", `${path}/schedules`, body);
  if (set.status !== 200) throw new Error(`${name}: ${set.code} ${set.message}`);
}

/** The script's runs, newest first. */
export async function cronRuns(platform: ApiAccess, script: string): Promise<CronRun[]> {
  const path = `/accounts/${platform.accountId}/mayfly/cron-runs?script=${script}`;
  return (await callApi(platform, "GET", path)).result as CronRun[];
}

/** Begins a run of the cron now. */
export async function beginRun(
  platform: ApiAccess,
  script_name: string,
  cron: string,
): Promise<CronRun> {
  const path = `/accounts/${platform.accountId}/mayfly/cron-runs`;
  const { status, message, result } = await callApi(platform, "POST", path, { script_name, cron });
  if (status !== 200) throw new Error(message);
  return result as CronRun;
}

/** The script's newest run when it is over. */
export async function endedRun(
  platform: ApiAccess,
  script: string,
  withinMs = 10_000,
): Promise<CronRun> {
  let run: CronRun | undefined;
  await until(async () => {
    [run] = await cronRuns(platform, script);
    return typeof run?.ended_at === "number";
  }, withinMs);
  return run as CronRun;
}

/** Changes what the scheduler has kept, while the platform is down; how many rows. */
export function changeScheduler(
  { dataDir }: { dataDir: string },
  sql: string,
  ...values: (string | number)[]
): number {
  const objects = join(dataDir, "state/do/mayfly-SchedulerObject");
  const file = readdirSync(objects).find((name) => /^[0-9a-f]{64}\.sqlite$/.test(name)) ?? "";
  // Its process may need a moment more to end than those that were waited for.
  const db = new DatabaseSync(join(objects, file), { timeout: 5_000 });
  const { changes } = db.prepare(sql).run(...values);
  db.close();
  return Number(changes);
}

/** Makes a namespace and gives its id. */
export async function createNamespace(platform: ApiAccess, title: string): Promise<string> {
  const path = `/accounts/${platform.accountId}/storage/kv/namespaces`;
  return (await callApi(platform, "POST", path, { title })).result.id as string;
}

/** The keys of a namespace. */
export async function keysOf(platform: ApiAccess, kv: string): Promise<string[]> {
  const path = `/accounts/${platform.accountId}/storage/kv/namespaces/${kv}/keys`;
  const { result } = await callApi(platform, "GET", path);
  return (result as { name: string }[]).map(({ name }) => name);
}
