import { WorkerEntrypoint } from "cloudflare:workers";
import { splitName } from "../../../pipeline/method-name.ts";
import { keepStack } from "./keep-stack.ts";

type Method = (...args: unknown[]) => unknown;

const { create, getOwnPropertyDescriptor, getPrototypeOf, setPrototypeOf } = Object;
const { apply, get } = Reflect;
const OwnPromise = Promise;
const base = WorkerEntrypoint.prototype as object;

/** Makes the call as a part of the invocation of this id. */
type Enter = (id: string, call: () => unknown) => unknown;

let enter: Enter = (_id, call) => call();

/** Has all such calls made by the function given. */
export function enterCallsBy(given: Enter): void {
  enter = given;
}

/**
 * Has all entrypoints answer for their methods also by names that say for which invocation they are called.
 * It comes last but for Object, with which the runtime wants all to end: what is asked for there is found
 * nowhere before.
 */
export function answerByNamesWithIds(): void {
  setPrototypeOf(
    base,
    new Proxy(create(getPrototypeOf(base) as object) as object, {
      get(target, name, entrypoint: object): unknown {
        const parts = typeof name === "string" ? splitName(name) : undefined;
        if (!parts) return get(target, name, entrypoint);
        return (...args: unknown[]) => enter(parts.id, () => call(entrypoint, parts.method, args));
      },
    }),
  );
}

function call(entrypoint: object, name: string, args: unknown[]): unknown {
  const method = methodOf(entrypoint, name);
  if (!method) throw new TypeError(`The RPC receiver does not implement the method "${name}".`);
  try {
    const result = apply(method, entrypoint, args);
    if (!(result instanceof OwnPromise)) return result;
    return result.catch((error: unknown) => {
      throw keepStack(error);
    });
  } catch (error) {
    throw keepStack(error);
  }
}

// Like the runtime: what the class and those that it extends have, and nothing else.
function methodOf(entrypoint: object, name: string): Method | undefined {
  if (name === "constructor") return undefined;
  let prototype = getPrototypeOf(entrypoint) as object | null;
  while (prototype && prototype !== base) {
    if (getOwnPropertyDescriptor(prototype, name)) {
      const method: unknown = get(prototype, name, entrypoint);
      return typeof method === "function" ? (method as Method) : undefined;
    }
    prototype = getPrototypeOf(prototype) as object | null;
  }
  return undefined;
}
