import { WorkerEntrypoint } from "cloudflare:workers";
import type { ScriptTarget, VersionTarget } from "../../catalog/routing.ts";
import type { Env } from "../../env.ts";
import { traced, tracedFetch } from "../../observe/traces/calls.ts";
import { beginCallTrace, describeRpc, type Trace } from "../../observe/traces/invocation-trace.ts";
import { tracing } from "../../observe/traces/tracing.ts";
import {
  countSubrequest,
  LoopLimitError,
  nextDepth,
  waitFor,
  type Caller,
} from "../../pipeline/calls.ts";
import { dispatchFetch, dispatchRpc } from "../../pipeline/dispatch.ts";
import { errorPage } from "../../pipeline/error-page.ts";
import { loopLimit } from "../../pipeline/errors.ts";
import type { Entrypoint } from "../../pipeline/invoke.ts";
import { splitName } from "../../pipeline/method-name.ts";
import { pickVersion, resolveScript } from "../../pipeline/resolve.ts";

/** Which entrypoint of which script a service binding leads to; set by the platform. */
export interface ServiceProps {
  accountId: string;
  scriptName: string;
  caller: Caller;
  entrypoint?: string;
  props?: unknown;
}

// A symbol, since callers may give their methods any name.
const callMethod = Symbol("callMethod");

class ServiceEntrypoint extends WorkerEntrypoint<Env, ServiceProps> {
  override fetch(request: Request): Promise<Response> {
    if (!tracing) return this.#fetch(request);
    return tracedFetch(this.ctx.props.caller, request, (traced) => this.#fetch(traced));
  }

  async #fetch(request: Request): Promise<Response> {
    const { caller } = this.ctx.props;
    countSubrequest(caller);
    const [target, version, entrypoint] = await this.#resolve();
    try {
      const depth = nextDepth(caller, request);
      return await waitFor(
        caller,
        dispatchFetch(target, version, request, { ...entrypoint, depth }, this.env, this.ctx),
      );
    } catch (error) {
      if (error instanceof LoopLimitError) return errorPage(loopLimit, request);
      throw error;
    }
  }

  /** Any other method of the bound entrypoint. */
  [callMethod](
    method: string,
    args: unknown[],
    invocationId: string | undefined,
  ): Promise<unknown> {
    if (!tracing) return this.#call(method, args);
    const { caller, scriptName } = this.ctx.props;
    const name = `${scriptName}/${method}`;
    const attributes = describeRpc(scriptName, method);
    return traced({ caller, invocationId, name, kind: "client", attributes }, (span) =>
      this.#call(method, args, beginCallTrace(scriptName, method, span?.context)),
    );
  }

  async #call(method: string, args: unknown[], trace?: Trace): Promise<unknown> {
    const { caller } = this.ctx.props;
    countSubrequest(caller);
    const [target, version, entrypoint] = await this.#resolve();
    const deeper = { ...entrypoint, depth: nextDepth(caller), trace };
    return waitFor(caller, dispatchRpc(target, version, deeper, method, args, this.env, this.ctx));
  }

  async #resolve(): Promise<[ScriptTarget, VersionTarget, Entrypoint]> {
    const { accountId, scriptName, entrypoint, props } = this.ctx.props;
    const target = await resolveScript(accountId, scriptName, this.env, this.ctx);
    const version = target && pickVersion(target);
    if (!version) throw new Error(`Service binding: there is no worker "${scriptName}" any more`);
    return [target, version, { ...(entrypoint && { name: entrypoint }), props }];
  }
}

// Names that the runtime itself asks an entrypoint for, which are no methods of the user's.
const NOT_METHODS = new Set([
  "self",
  "connect",
  "tail",
  "tailStream",
  "trace",
  "scheduled",
  "queue",
  "alarm",
]);

/**
 * The platform's side of a service binding. It has every method that the bound entrypoint may have:
 * what its class does not have itself is a call to be passed on. The runtime looks methods up on the
 * prototype, so that is where a proxy answers; the worker that calls holds an ordinary service stub.
 */
export const ServiceBinding = new Proxy(ServiceEntrypoint, {
  construct(target, args, newTarget): ServiceEntrypoint {
    const instance = Reflect.construct(target, args, newTarget) as ServiceEntrypoint;
    const prototype = new Proxy(ServiceEntrypoint.prototype, {
      get(object, key, receiver): unknown {
        if (key in object || typeof key === "symbol" || NOT_METHODS.has(key)) {
          return Reflect.get(object, key, receiver);
        }
        // By such a name an isolate calls in which several invocations are at work.
        const { method, id } = (tracing && splitName(key)) ?? { method: key, id: undefined };
        return (...args: unknown[]) => instance[callMethod](method, args, id);
      },
    });
    return Object.setPrototypeOf(instance, prototype) as ServiceEntrypoint;
  },
});
