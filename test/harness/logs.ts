import { callApi } from "./api.ts";
import type { ApiAccess } from "./platform.ts";
import { until } from "./processes.ts";

/** A kept invocation as the API shows it. */
export interface Logged {
  id: string;
  version_id: string;
  trigger: string | null;
  entrypoint: string | null;
  event: Record<string, unknown> | null;
  started_at: string;
  outcome: string | null;
  status: number | null;
  wall_time_ms: number;
  truncated: boolean;
  logs: {
    timestamp: string;
    level: string;
    message: unknown[];
    fields?: Record<string, unknown>;
  }[];
  exceptions: { timestamp: string; name: string; message: string; stack?: string }[];
}

export type LogsQuery = Record<string, string | number | string[]>;

/** Where logs of the script are asked for. */
export function logsPath({ accountId }: ApiAccess, script: string, query: LogsQuery = {}): string {
  const search = new URLSearchParams({ script });
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) search.append(name, String(one));
  }
  return `/accounts/${accountId}/mayfly/logs?${search}`;
}

/** The newest of what is kept of the script, or of that what the query asks for; newest first. */
export async function readLogs(
  platform: ApiAccess,
  script: string,
  query?: LogsQuery,
): Promise<Logged[]> {
  const { status, message, result } = await callApi(
    platform,
    "GET",
    logsPath(platform, script, query),
  );
  if (status !== 200) throw new Error(message);
  return result as Logged[];
}

/** The same, when the condition holds for it. */
export async function logsWhen(
  platform: ApiAccess,
  script: string,
  query: LogsQuery,
  condition: (found: Logged[]) => boolean,
  withinMs = 15_000,
): Promise<Logged[]> {
  let found: Logged[] = [];
  await until(async () => condition((found = await readLogs(platform, script, query))), withinMs);
  return found;
}

/** Everything that is kept of the script, newest first, page by page. */
export async function readAllLogs(
  platform: ApiAccess,
  script: string,
  query: LogsQuery = {},
): Promise<Logged[]> {
  const found: Logged[] = [];
  let cursor: string | undefined;
  do {
    const path = logsPath(platform, script, { limit: 1000, ...query, ...(cursor && { cursor }) });
    const response = await fetch(platform.api + path, {
      headers: { authorization: `Bearer ${platform.token}` },
    });
    const { result, result_info } = (await response.json()) as {
      result: Logged[];
      result_info: { cursor?: string };
    };
    found.push(...result);
    cursor = result_info.cursor;
  } while (cursor !== undefined);
  return found;
}
