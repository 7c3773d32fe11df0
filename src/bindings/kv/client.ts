// Runs inside users' isolates: turns the stub of a `KvBinding` into a `KVNamespace`.
import { pick, requireArguments, toBody } from "../client-arguments.ts";
import type { KvMethods, ListedKeys, ListOptions, PutOptions } from "./protocol.ts";

const OWNER = "KvNamespace";
const VALUE_ERROR =
  "KV put() accepts only strings, ArrayBuffers, ArrayBufferViews, and ReadableStreams as values.";

type Value = string | ArrayBuffer | ReadableStream | unknown;
interface GetArguments {
  type?: string;
  cacheTtl?: number;
}
interface ValueWithMetadata {
  value: Value;
  metadata: unknown;
  cacheStatus: string | null;
}

class KvNamespace {
  readonly #stub: KvMethods;

  constructor(stub: KvMethods) {
    this.#stub = stub;
  }

  get [Symbol.toStringTag](): string {
    return OWNER;
  }

  // Like the runtime's own, these two throw for wrong arguments instead of rejecting.
  get(...args: [key: string | string[], options?: string | GetArguments]): Promise<Value> {
    const [key, options] = getArguments("get", args);
    return Array.isArray(key)
      ? this.#getMany(key, options, false)
      : this.#getOne(key, options).then(({ value }) => value);
  }

  getWithMetadata(
    ...args: [key: string | string[], options?: string | GetArguments]
  ): Promise<unknown> {
    const [key, options] = getArguments("getWithMetadata", args);
    return Array.isArray(key) ? this.#getMany(key, options, true) : this.#getOne(key, options);
  }

  async put(...args: [key: string, value: unknown, options?: PutArguments]): Promise<void> {
    requireArguments(args.length, "put", OWNER, ["string", "string or Object"]);
    const [key, value, options] = args;
    const members = ["expiration", "expirationTtl", "metadata"] as const;
    const picked = pick(options, members, ["put", OWNER, 3, "PutOptions"]);
    const { metadata, ...rest } = picked;
    const json = metadata === null ? undefined : JSON.stringify(metadata);
    const sent: PutOptions = { ...rest, ...(json !== undefined && { metadata: json }) };
    await this.#stub.putValue(`${key}`, kvBody(value), sent);
  }

  async delete(...args: [key: string]): Promise<void> {
    requireArguments(args.length, "delete", OWNER, ["string"]);
    await this.#stub.deleteKey(`${args[0]}`);
  }

  async list(options?: KVNamespaceListOptions): Promise<ListedKeys> {
    const members = ["limit", "prefix", "cursor"] as const;
    const { limit, prefix, cursor } = pick(options, members, ["list", OWNER, 1, "ListOptions"]);
    const sent: ListOptions = {
      ...(limit !== undefined && { limit }),
      ...(prefix !== undefined && prefix !== null && { prefix: `${prefix}` }),
      ...(cursor !== undefined && cursor !== null && { cursor: `${cursor}` }),
    };
    return this.#stub.listKeys(sent);
  }

  async #getOne(
    key: string,
    { type = "text", cacheTtl }: GetArguments,
  ): Promise<ValueWithMetadata> {
    const found = await this.#stub.getValue(key, {
      stream: type === "stream",
      ...(cacheTtl !== undefined && { cacheTtl }),
    });
    if (!found) return { value: null, metadata: null, cacheStatus: null };
    return { ...found, value: await readAs(type, found.value) };
  }

  async #getMany(
    keys: string[],
    options: GetArguments,
    withMetadata: boolean,
  ): Promise<Map<string, unknown>> {
    return new Map(await this.#stub.getMany(keys, { ...options, withMetadata }));
  }
}

interface PutArguments {
  expiration?: number;
  expirationTtl?: number;
  metadata?: unknown;
}

function getArguments(
  method: string,
  args: [key: string | string[], options?: string | GetArguments],
): [key: string | string[], options: GetArguments] {
  const types = method === "get" ? "string or Array" : "Array or string";
  requireArguments(args.length, method, OWNER, [types]);
  const [key, options] = args;
  const name = Array.isArray(key) ? key.map((one) => `${one}`) : `${key}`;
  if (options === undefined || options === null) return [name, {}];
  if (typeof options !== "object") return [name, { type: `${options}` }];
  const { type, cacheTtl } = options;
  return [
    name,
    {
      ...(type !== undefined && { type: `${type}` }),
      ...(cacheTtl !== undefined && { cacheTtl }),
    },
  ];
}

function kvBody(value: unknown): Uint8Array | ReadableStream {
  if (typeof value !== "function" && (typeof value !== "object" || value === null)) {
    return toBody(`${value as string}`);
  }
  if (value instanceof ReadableStream) return value;
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return toBody(value);
  throw new TypeError(VALUE_ERROR);
}

async function readAs(type: string, value: ArrayBuffer | ReadableStream): Promise<Value> {
  switch (type) {
    case "stream":
    case "arrayBuffer":
      return value;
    case "text":
      return decode(value);
    case "json":
      return JSON.parse(await decode(value));
    default:
      throw new TypeError(
        'Unknown response type. Possible types are "text", "arrayBuffer", "json", and "stream".',
      );
  }
}

// Unlike a response's text, a value keeps its byte order mark.
async function decode(value: ArrayBuffer | ReadableStream): Promise<string> {
  const bytes = value instanceof ArrayBuffer ? value : await new Response(value).arrayBuffer();
  return new TextDecoder("utf-8", { fatal: false, ignoreBOM: true }).decode(bytes);
}

/** The namespace that `stub` gives access to. */
export function wrap(stub: KvMethods): KVNamespace {
  // The overloads of KVNamespace say more than one implementation can; the suite in test/bindings
  // holds it to them.
  return new KvNamespace(stub) as unknown as KVNamespace;
}
