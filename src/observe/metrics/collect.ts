import { subdomainsOf } from "../../catalog/accounts.ts";
import type { Principal } from "../../control/auth.ts";
import type { Env } from "../../env.ts";
import type { Report } from "../../usage/report.ts";
import { askShards } from "../shards.ts";
import { takeCounted, zeros } from "./counters.ts";
import { executorSeries } from "./executors.ts";
import { processSeries } from "./processes.ts";
import { queueSeries } from "./queues.ts";
import { UsageTotals } from "./script-totals.ts";
import { addSeries, addValue, toExposition, type SeriesValues } from "./series.ts";

/** How many scripts, and how many queues, have series of their own if `MAYFLY_METRICS_SERIES` is missing. */
const DEFAULT_MAX = 200;
const maxOf = ({ MAYFLY_METRICS_SERIES }: Env): number =>
  Number(MAYFLY_METRICS_SERIES || DEFAULT_MAX);

// Since state was started. Executors come and go meanwhile, and no counter goes back.
const usageTotals = new UsageTotals();
const counted: SeriesValues = {};

/** Adds what an executor has reported; to be called once for each report. */
export function countReport({ usage, counted: series }: Report, env: Env): void {
  usageTotals.add(usage, maxOf(env));
  if (series) addSeries(counted, series);
}

/**
 * All metrics as text. Tokens of the default account, which is the operator's, and the root token see all;
 * those of other accounts see the series of their own scripts and queues.
 */
export async function collect(
  { accountId }: Principal,
  env: Env,
  ctx: ExecutionContext,
): Promise<string> {
  const [executors, shards] = await Promise.all([executorSeries(env, ctx), askShards(env, ctx)]);
  const subdomains = await subdomainsOf(env.CATALOG);
  const nameOf = (id: string): string => subdomains.get(id) ?? id;
  const isOperator = accountId === undefined || nameOf(accountId) === env.MAYFLY_SUBDOMAIN;
  const only = isOperator ? undefined : accountId;

  const series = usageTotals.series(only, nameOf);
  addSeries(series, await queueSeries(env, only, maxOf(env), nameOf));
  if (!isOperator) return toExposition(series);

  // State's own, and 0 for what nobody has counted yet.
  addSeries(counted, takeCounted() ?? {});
  addSeries(counted, zeros());
  const answering = shards.filter(Boolean).length;
  for (const known of [counted, executors, processSeries()]) addSeries(series, known);
  addValue(series, "mayfly_shards", "", answering);
  return toExposition(series);
}
