// Has all calls that leave an isolate in which several invocations are at work say which of them makes the call:
// requests in the header that brought them their id, other calls in the method's name. Runs before the user's
// modules. What the user's code can do about it is of use to nobody: an id counts only in its own isolate.
import { env } from "cloudflare:workers";
import { currentInvocation } from "mayfly:context";
import { DOUBLE_PREFIX } from "../../observe/traces/doubles.ts";
import { nameFor } from "../../pipeline/method-name.ts";

type Fetch = typeof fetch;
type Double = Record<string, unknown> & Pick<Fetcher, "fetch">;

// As the platform calls it; see INVOCATION_ID_HEADER.
const ID_HEADER = "cf-ray";

const { apply, get } = Reflect;
const OwnRequest = Request;
const setHeader = Headers.prototype.set;

const named =
  (send: Fetch): Fetch =>
  async (...args) => {
    const id = currentInvocation();
    if (id === undefined) return send(...args);
    const request = new OwnRequest(...args);
    apply(setHeader, request.headers, [ID_HEADER, id]);
    return send(request);
  };

globalThis.fetch = named(globalThis.fetch);

/** Has calls of the stub made by its double, whose prototype is still the runtime's. */
function nameCalls(stub: object, double: Double): void {
  const fetch = named((...args) => double.fetch(...args));
  const prototype = new Proxy(Object.getPrototypeOf(stub) as object, {
    get(target, name, receiver: object): unknown {
      if (name === "fetch") return fetch;
      if (typeof name !== "string" || name in target) return get(target, name, receiver);
      const id = currentInvocation();
      // Not all that may be asked for is a method.
      const plain = double[name];
      return id === undefined || plain === undefined ? plain : double[nameFor(name, id)];
    },
  });
  // Not a proxy of the stub itself: that could not be passed on as a stub.
  Object.setPrototypeOf(stub, prototype);
}

const granted = env as unknown as Record<string, unknown>;
for (const key of Object.keys(granted)) {
  if (!key.startsWith(DOUBLE_PREFIX)) continue;
  nameCalls(granted[key.slice(DOUBLE_PREFIX.length)] as object, granted[key] as Double);
  delete granted[key];
}
