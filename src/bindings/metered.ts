import type { Caller } from "../pipeline/calls.ts";
import { usageOfCaller } from "../pipeline/calls.ts";

/** Set by the platform on every binding: whose it is. */
export interface CallerProps {
  caller: Caller;
}

type Method = (...args: unknown[]) => unknown;
interface Metered {
  ctx: { props: CallerProps };
}

/**
 * Has calls of the entrypoint's methods counted as operations, such as `kv.get`, of the worker that makes
 * them. `names` says what each is called; those without a name are not counted.
 */
export function metered(
  Entrypoint: { prototype: object },
  kind: string,
  names: Record<string, string>,
): void {
  const methods = Entrypoint.prototype as Record<string, Method>;
  for (const [method, name] of Object.entries(names)) {
    const own = methods[method] as Method;
    const operation = `${kind}.${name}`;
    methods[method] = function (this: Metered, ...args): unknown {
      const { operations } = usageOfCaller(this.ctx.props.caller);
      operations[operation] = (operations[operation] ?? 0) + 1;
      return own.apply(this, args);
    };
  }
}
