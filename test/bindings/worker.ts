import type { Case, CaseEnv, Differences } from "./case.ts";
import * as d1 from "./cases/d1.ts";
import * as kv from "./cases/kv.ts";
import * as queue from "./cases/queue.ts";
import * as r2 from "./cases/r2.ts";

const cases = new Map<string, { run: Case; differs?: Differences[string] }>();
for (const [kind, module] of Object.entries({ kv, r2, d1, queue })) {
  for (const [name, run] of Object.entries(module.cases)) {
    const differs = module.differences[name];
    cases.set(`${kind}: ${name}`, { run, ...(differs && { differs }) });
  }
}

/** `GET /` lists the cases as JSON; `GET /?case=<name>` runs one and answers 200, or 500 with why. */
export default {
  async fetch(request, env): Promise<Response> {
    const name = new URL(request.url).searchParams.get("case");
    if (name === null) {
      return Response.json(Array.from(cases, ([name, { differs }]) => ({ name, differs })));
    }
    const found = cases.get(name);
    if (!found) return new Response(`No case "${name}"`, { status: 404 });
    try {
      await found.run(env);
      return new Response("ok");
    } catch (error) {
      const stack = error instanceof Error ? error.stack : undefined;
      return new Response(`${String(error)}\n${stack ?? ""}`, { status: 500 });
    }
  },
  queue: queue.consume,
} satisfies ExportedHandler<CaseEnv>;
