import { Hono, type Context } from "hono";
import { queuesConsumedBy } from "../catalog/queue-consumers.ts";
import { deleteScript, listReferences } from "../catalog/references.ts";
import { listProducers } from "../catalog/tail-consumers.ts";
import { isTailed } from "../catalog/tailed-scripts.ts";
import { logsOf } from "../observe/logs/logs-of.ts";
import type { Env } from "../env.ts";
import { log } from "../observe/log.ts";
import { tailsOf } from "../observe/tail/tails-of.ts";
import { refreshSchedules } from "../triggers/cron/scheduler.ts";
import { updateFeeds } from "../triggers/database/update-feeds.ts";
import type { ControlEnv } from "./app.ts";
import { success } from "./envelope.ts";
import { ApiError } from "./error.ts";
import { invalidate } from "./invalidate.ts";
import { refreshQueues } from "./queue.ts";
import { accountOf, scriptOf } from "./script.ts";

/** `wrangler delete`: what depends on a script, and its end. */
export const deletion = new Hono<ControlEnv>();

deletion.get("/workers/scripts/:script_name/references", async (c) => {
  const { name } = await scriptOf(c);
  const names = await listReferences(c.env.CATALOG, accountOf(c), name);
  return success({
    services: {
      incoming: names.map((service) => ({ service, environment: "production" })),
      outgoing: [],
      pages_function: false,
    },
    durable_objects: [],
    dispatch_outbounds: [],
  });
});

deletion.get("/workers/tails/by-consumer/:script_name", async (c) => {
  const names = await listProducers(c.env.CATALOG, accountOf(c), c.req.param("script_name"));
  return success(names.map((service) => ({ producer: { service, environment: "production" } })));
});

// Uploads with Durable Objects or containers are refused, so nobody has any.
deletion.get("/workers/durable_objects/namespaces", () =>
  success([], { page: 1, per_page: 1000, count: 0, total_count: 0 }),
);
deletion.get("/containers/applications", () => success([]));

// The two names of a script have different codes for an unknown one.
deletion.delete("/workers/services/:script_name", (c) => remove(c, 10090));
deletion.delete("/workers/scripts/:script_name", (c) => remove(c, 10007));

async function remove(c: Context<ControlEnv>, unknown: number): Promise<Response> {
  const { id, name, settings } = await scriptOf(c, unknown);
  if (c.req.query("force") !== "true") {
    const names = await listReferences(c.env.CATALOG, accountOf(c), name);
    if (names.length > 0) {
      throw new ApiError(
        400,
        10064,
        `Cannot delete this Worker as it is bound as a service by: ${names.join(", ")}. Remove the bindings or use force=true`,
      );
    }
    const producers = await listProducers(c.env.CATALOG, accountOf(c), name);
    if (producers.length > 0) {
      throw new ApiError(
        400,
        10064,
        `Cannot delete this Worker as it is a tail consumer of: ${producers.join(", ")}. Remove it there or use force=true`,
      );
    }
  }
  const consumed = await queuesConsumedBy(c.env.CATALOG, id);
  const tailed = await isTailed(c.env.CATALOG, id);
  await deleteScript(c.env.CATALOG, id);
  if (tailed) await endTails(c.env, id);
  // Without such settings there have never been any.
  if (settings.observability) await logsOf(c.env, id).destroy();
  await invalidate(c);
  await refreshSchedules(c.env, id);
  await updateFeeds(c.env, c.executionCtx as ExecutionContext, accountOf(c));
  await refreshQueues(
    c.env,
    consumed.map((queue) => queue.id),
  );
  return success(null);
}

// Never fails: sessions of a script that is gone end by themselves, if later.
async function endTails(env: Env, scriptId: string): Promise<void> {
  try {
    await tailsOf(env, scriptId).destroy();
  } catch (error) {
    log("warn", "tails_not_ended", { script: scriptId, message: String(error) });
  }
}
