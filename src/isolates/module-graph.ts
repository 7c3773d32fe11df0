import context from "../../dist/prelude/context.txt";
import d1 from "../../dist/prelude/d1.txt";
import env from "../../dist/prelude/env.txt";
import first from "../../dist/prelude/first.txt";
import kv from "../../dist/prelude/kv.txt";
import main from "../../dist/prelude/main.txt";
import mainInContext from "../../dist/prelude/main-in-context.txt";
import namedCalls from "../../dist/prelude/named-calls.txt";
import queue from "../../dist/prelude/queue.txt";
import r2 from "../../dist/prelude/r2.txt";
import type { IsolateSource, SourceBinding, SourceModule } from "../catalog/source.ts";

/** Folder of the platform's own modules in an isolate's graph; uploads may not use it. */
export const RESERVED_FOLDER = "__mayfly/";

// Bindings whose stub is shaped inside the isolate. The others are given as they are.
const CLIENTS: Partial<Record<SourceBinding["type"], { kind: string; code: string }>> = {
  kv_namespace: { kind: "kv", code: kv },
  r2_bucket: { kind: "r2", code: r2 },
  d1: { kind: "d1", code: d1 },
  queue: { kind: "queue", code: queue },
};

/** The code of an isolate without its env, the same for every isolate of the version. */
export interface ModuleGraph {
  compatibilityDate: string;
  compatibilityFlags: string[];
  mainModule: string;
  modules: Record<string, WorkerLoaderModule>;
}

/** Puts the prelude before the user's modules, with clients for only the kinds that are bound. */
export function toModuleGraph(source: IsolateSource): ModuleGraph {
  const modules: ModuleGraph["modules"] = {};
  const add = (name: string, module: WorkerLoaderModule): void => {
    modules[RESERVED_FOLDER + name] = module;
  };

  const shaped = source.bindings.flatMap(({ name, type }) => {
    const client = CLIENTS[type];
    return client ? [{ name, ...client }] : [];
  });
  const clients = new Map(shaped.map(({ kind, code }) => [kind, code]));
  if (clients.size > 0) {
    for (const [kind, code] of clients) add(`${kind}.js`, { js: code });
    add("kinds.js", { js: kindsModule([...clients.keys()]) });
    add("bindings.js", { json: shaped.map(({ name, kind }) => ({ name, kind })) });
    add("env.js", { js: env });
  }
  add("first.js", { js: first });
  add("main.js", { js: main });
  add("user.js", { js: userModule(source.mainModule, clients.size > 0) });
  for (const module of source.modules) modules[module.name] = toLoaderModule(module);

  return {
    compatibilityDate: source.compatibilityDate,
    compatibilityFlags: withRpc(source.compatibilityFlags),
    mainModule: `${RESERVED_FOLDER}main.js`,
    modules,
  };
}

/**
 * The same for isolates in which it must be known which invocation is at work: see `prelude/context.ts`.
 * `named`: their calls must say it.
 */
export function inContext(graph: ModuleGraph, named: boolean): ModuleGraph {
  const { compatibilityFlags, modules } = graph;
  const mainModule = `${RESERVED_FOLDER}main-in-context.js`;
  return {
    ...graph,
    compatibilityFlags: [
      ...new Set([...compatibilityFlags.filter((flag) => flag !== "no_nodejs_als"), "nodejs_als"]),
    ],
    mainModule,
    modules: {
      ...modules,
      [mainModule]: { js: mainInContext },
      [`${RESERVED_FOLDER}context.js`]: { js: context },
      [`${RESERVED_FOLDER}named-calls.js`]: { js: named ? namedCalls : "" },
    },
  };
}

// Bindings reach the platform by RPC, which runtimes of before 2024-04-03 have only if asked for it.
const withRpc = (flags: string[]): string[] => [
  ...new Set([...flags.filter((flag) => flag !== "no_rpc"), "rpc"]),
];

// The two modules that name what only the version knows. Imports run in order: env comes first.
function userModule(mainModule: string, hasEnv: boolean): string {
  const specifier = JSON.stringify(`../${mainModule}`);
  return [
    ...(hasEnv ? [`import "./env.js";`] : []),
    `import * as user from ${specifier};`,
    `export * from ${specifier};`,
    `export default user.default;`,
  ].join("\n");
}

function kindsModule(kinds: string[]): string {
  return [
    ...kinds.map((kind) => `import { wrap as ${kind} } from "./${kind}.js";`),
    `export const wrappers = { ${kinds.join(", ")} };`,
  ].join("\n");
}

function toLoaderModule({ type, content }: SourceModule): WorkerLoaderModule {
  if (type === "json" && typeof content === "string") return { json: JSON.parse(content) };
  return { [type]: content };
}
