import { Hono } from "hono";
import * as z from "zod";
import { listScriptRoutes, type NewRoute } from "../catalog/routes.ts";
import { setScriptAddress } from "../catalog/script-address.ts";
import type { ControlEnv } from "./app.ts";
import { readJson } from "./body.ts";
import { deletion } from "./deletion.ts";
import { domains } from "./domains.ts";
import { success } from "./envelope.ts";
import { notBuilt } from "./error.ts";
import { invalidate } from "./invalidate.ts";
import { parseRoute, replaceRoutes, scriptRoute, toRouteResult } from "./routes.ts";
import { schedules } from "./schedules.ts";
import { accountOf, scriptOf } from "./script.ts";

/** What causes a script's events: addresses, routes, custom domains, schedules. */
export const triggers = new Hono<ControlEnv>();

// Until it says otherwise, a script has previews where it has an address.
const address = z.object({ enabled: z.boolean(), previews_enabled: z.boolean().optional() });

triggers.route("/", domains);
triggers.route("/", deletion);
triggers.route("/", schedules);

triggers.get("/workers/scripts/:script_name/subdomain", async (c) => {
  const { workersDev, previews } = await scriptOf(c);
  return success({ enabled: workersDev, previews_enabled: previews });
});

triggers.post("/workers/scripts/:script_name/subdomain", async (c) => {
  const { id } = await scriptOf(c);
  const { enabled, previews_enabled = enabled } = await readJson(c, address, 10001);
  await setScriptAddress(c.env.CATALOG, id, enabled, previews_enabled);
  await invalidate(c);
  return success({ enabled, previews_enabled });
});

triggers.delete("/workers/scripts/:script_name/subdomain", async (c) => {
  const { id } = await scriptOf(c);
  await setScriptAddress(c.env.CATALOG, id, false, false);
  await invalidate(c);
  return success({ enabled: false, previews_enabled: false });
});

triggers.get("/workers/scripts/:script_name/routes", async (c) => {
  const { id: scriptId } = await scriptOf(c);
  return success((await listScriptRoutes(c.env.CATALOG, scriptId)).map(toRouteResult));
});

// The script has these routes and no others afterwards.
triggers.put("/workers/scripts/:script_name/routes", async (c) => {
  const { id: scriptId } = await scriptOf(c);
  const wanted = new Map<string, NewRoute>();
  for (const route of await readJson(c, z.array(scriptRoute), 10022)) {
    const parsed = await parseRoute(c.env, accountOf(c), route, scriptId);
    wanted.set(`${parsed.zoneId} ${parsed.pattern}`, parsed);
  }
  const removedIds = [];
  for (const { id, zoneId, pattern } of await listScriptRoutes(c.env.CATALOG, scriptId)) {
    if (!wanted.delete(`${zoneId} ${pattern}`)) removedIds.push(id);
  }
  await replaceRoutes(c.env.CATALOG, removedIds, [...wanted.values()]);
  await invalidate(c);
  return success((await listScriptRoutes(c.env.CATALOG, scriptId)).map(toRouteResult));
});

triggers.all("/triggers/:script_name", () => {
  throw notBuilt("triggers.events", "event triggers are");
});
triggers.on(["GET", "POST", "PUT", "PATCH", "DELETE"], ["/workflows", "/workflows/*"], () => {
  throw notBuilt("workflows", "Workflows are");
});
