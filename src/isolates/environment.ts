import type { IsolateSource, SourceBinding } from "../catalog/source.ts";
import { CAPTURE_RATE, CAPTURE_STUB } from "../observe/logs/captured.ts";
import type { CaptureProps } from "../observe/logs/capture.ts";
import { DOUBLE_PREFIX } from "../observe/traces/doubles.ts";
import type { Caller } from "../pipeline/calls.ts";
import type { Isolate } from "./isolate.ts";

// The platform's entrypoints behind bindings, as loopbacks that carry props.
type Loopback = (options: { props: unknown }) => Fetcher;
type BindingName = "KvBinding" | "R2Binding" | "D1Binding" | "QueueBinding" | "ServiceBinding";

/**
 * The `env` that an isolate is given: plain values, and for each resource a stub whose props only
 * the platform can set. What reaches the isolate is what the version was granted, nothing else.
 * `isolate` is its name.
 */
export function toEnvironment(
  source: IsolateSource,
  isolate: string,
  ctx: ExecutionContext,
): Record<string, unknown> {
  const exports = ctx.exports as unknown as Record<BindingName, Loopback>;
  const caller = callerOf(source, isolate);
  const env: Record<string, unknown> = {};
  for (const binding of source.bindings) {
    env[binding.name] = toValue(binding, source, caller, exports);
  }
  return env;
}

/** Where all that the isolate sends to hosts goes. */
export function egressOf(source: IsolateSource, isolate: string, ctx: ExecutionContext): Fetcher {
  const { Egress } = ctx.exports as unknown as { Egress: Loopback };
  return Egress({ props: callerOf(source, isolate) });
}

/** By which the prelude tells the platform what is written with `console`. */
export function captureGrant(
  { version, captured }: Isolate,
  ctx: ExecutionContext,
): Record<string, unknown> {
  const { Capture } = ctx.exports as unknown as { Capture: Loopback };
  const { scriptId, versionId } = version;
  const props = { scriptId, versionId } satisfies CaptureProps;
  return { [CAPTURE_STUB]: Capture({ props }), [CAPTURE_RATE]: captured };
}

/** The stubs once more, by which the prelude calls: see `prelude/named-calls.ts`. */
export function doublesOf(
  source: IsolateSource,
  isolate: string,
  ctx: ExecutionContext,
): Record<string, unknown> {
  const bindings = source.bindings.filter(({ type }) => STUBS.has(type));
  const stubs = toEnvironment({ ...source, bindings }, isolate, ctx);
  return Object.fromEntries(
    Object.entries(stubs).map(([name, stub]) => [DOUBLE_PREFIX + name, stub]),
  );
}

const STUBS = new Set<SourceBinding["type"]>([
  "kv_namespace",
  "r2_bucket",
  "d1",
  "queue",
  "service",
]);

const callerOf = (
  { accountId, scriptName, versionId }: IsolateSource,
  isolate: string,
): Caller => ({ accountId, scriptName, versionId, isolate });

function toValue(
  binding: SourceBinding,
  source: IsolateSource,
  caller: Caller,
  exports: Record<BindingName, Loopback>,
): unknown {
  const { accountId } = source;
  switch (binding.type) {
    case "plain_text":
    case "secret_text":
      return binding.text;
    case "json":
      return binding.json;
    case "version_metadata":
      return { id: source.versionId, tag: source.versionTag, timestamp: source.createdAt };
    case "kv_namespace":
      return exports.KvBinding({ props: { accountId, namespaceId: binding.namespace_id, caller } });
    case "r2_bucket":
      return exports.R2Binding({ props: { accountId, bucketName: binding.bucket_name, caller } });
    case "d1":
      return exports.D1Binding({
        props: { accountId, databaseId: binding.id, shard: source.shards[binding.id], caller },
      });
    case "queue":
      return exports.QueueBinding({
        props: {
          accountId,
          queueName: binding.queue_name,
          deliveryDelay: binding.delivery_delay,
          caller,
        },
      });
    case "service":
      return exports.ServiceBinding({
        props: {
          accountId,
          scriptName: binding.service,
          caller,
          entrypoint: binding.entrypoint,
          props: binding.props,
        },
      });
  }
}
