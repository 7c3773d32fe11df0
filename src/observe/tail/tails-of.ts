import type { Env } from "../../env.ts";
import type { TailObject } from "./object.ts";

/** The object of the script's sessions. */
export const tailsOf = (env: Env, scriptId: string): DurableObjectStub<TailObject> =>
  env.TAILS.get(env.TAILS.idFromName(scriptId));
