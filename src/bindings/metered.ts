import { traced, type CallSpan } from "../observe/traces/calls.ts";
import type { Describe } from "../observe/traces/operations.ts";
import { tracing } from "../observe/traces/tracing.ts";
import { histogram, timed, type Histogram } from "../observe/metrics/counters.ts";
import { usageOfCaller, waitFor, type Caller } from "../pipeline/calls.ts";
import { splitName } from "../pipeline/method-name.ts";

/** Set by the platform on every binding: whose it is. */
export interface CallerProps {
  caller: Caller;
}

type Method = (...args: unknown[]) => unknown;
interface Metered<Props> {
  ctx: { props: Props };
  /** The invocation that makes the call, if the isolate says which. */
  invocationId?: string;
  /** Of the call that is made, for the entrypoint's own use. */
  span?: CallSpan | undefined;
}

/** The method, with the time measured that it takes. */
const timedMethod = (method: Method, calls: Histogram): Method =>
  function (this: unknown, ...args): unknown {
    return timed(calls, method.apply(this, args) as Promise<unknown>);
  };

/**
 * Has calls of the entrypoint's methods counted as operations, such as `kv.get`, of the worker that makes
 * them, and have spans. `names` says what each is called; those without a name are not counted.
 */
export function metered<Props extends CallerProps>(
  Entrypoint: { prototype: object },
  kind: string,
  names: Record<string, string>,
  describe: Describe<Props>,
): void {
  // Only databases are elsewhere.
  const role = kind === "d1" ? "shard" : "state";
  const calls = histogram(`mayfly_${role}_call_duration_seconds`, { call: kind });
  const methods = Entrypoint.prototype as Record<string, Method>;
  for (const [method, name] of Object.entries(names)) {
    const own = timedMethod(methods[method] as Method, calls);
    const operation = `${kind}.${name}`;
    methods[method] = function (this: Metered<Props>, ...args): unknown {
      const { props } = this.ctx;
      const { caller } = props;
      const { operations } = usageOfCaller(caller);
      operations[operation] = (operations[operation] ?? 0) + 1;
      if (!tracing) return waitFor(caller, own.apply(this, args));
      const { invocationId } = this;
      const call = { caller, invocationId, ...describe(name, props, args) };
      const answer = traced(call, async (span) => {
        this.span = span;
        return own.apply(this, args);
      });
      return waitFor(caller, answer);
    };
  }
  if (tracing) answerByNamesWithIds(methods, names);
}

/**
 * Has the methods answer also by names that say which invocation calls them: so do isolates call in which
 * several are at work. The runtime looks methods up on the prototype, and finds these nowhere before.
 */
function answerByNamesWithIds(
  methods: Record<string, Method>,
  names: Record<string, string>,
): void {
  const inherited = Object.getPrototypeOf(methods) as object;
  const proxy = new Proxy(inherited, {
    get(target, name, entrypoint: Metered<CallerProps>): unknown {
      const parts = typeof name === "string" ? splitName(name) : undefined;
      if (!parts || !Object.hasOwn(names, parts.method))
        return Reflect.get(target, name, entrypoint);
      return (...args: unknown[]) => {
        entrypoint.invocationId = parts.id;
        return methods[parts.method]?.apply(entrypoint, args);
      };
    },
  });
  Object.setPrototypeOf(methods, proxy);
}
