// Runs before the user's modules: turns the platform's stubs in `env` into what a worker expects
// there. `env` of cloudflare:workers, of handlers and of entrypoint classes are one object.
import { env } from "cloudflare:workers";
import bindings from "mayfly:bindings";
import { wrappers } from "mayfly:kinds";

const target = env as unknown as Record<string, unknown>;
for (const binding of bindings) {
  const wrap = wrappers[binding.kind];
  if (!wrap) throw new Error(`No client for bindings of kind ${binding.kind}`);
  target[binding.name] = wrap(target[binding.name], binding);
}
