import { RpcTarget } from "cloudflare:workers";
import { recentNamespace } from "../../catalog/namespaces.ts";
import type { Env } from "../../env.ts";
import { byteLength, KeySpace, type StoredKey } from "../key-space.ts";
import type {
  FoundValue,
  GetManyOptions,
  GetOptions,
  KvMethods,
  ListedKeys,
  ListOptions,
  PutOptions,
} from "./protocol.ts";

/** https://developers.cloudflare.com/kv/platform/limits/ */
const MAX_KEY_BYTES = 512;
const MAX_METADATA_BYTES = 1024;

/** The metadata of a shortened key: its tail, and the user's own. */
interface ShortenedMetadata {
  mayflyKeyTail: string;
  metadata?: unknown;
}

/**
 * The values of one namespace, in the platform's own namespace. Serves bindings and the control API
 * alike. Whatever is not checked here, the native binding checks; both throw Cloudflare's messages.
 */
export class KvStore extends RpcTarget implements KvMethods {
  readonly #env: Env;
  readonly #accountId: string;
  readonly #namespaceId: string;

  constructor(env: Env, accountId: string, namespaceId: string) {
    super();
    this.#env = env;
    this.#accountId = accountId;
    this.#namespaceId = namespaceId;
  }

  async getValue(key: string, options: GetOptions): Promise<FoundValue | null> {
    const { stored, space } = await this.#locate("GET", key);
    const { cacheTtl } = options;
    const native = { ...(cacheTtl !== undefined && { cacheTtl }) };
    const found = options.stream
      ? await this.#env.KV.getWithMetadata(stored.name, { ...native, type: "stream" })
      : await this.#env.KV.getWithMetadata(stored.name, { ...native, type: "arrayBuffer" });
    if (found.value === null) return null;
    return {
      value: found.value,
      metadata: userMetadata(space, stored.name, found.metadata),
      cacheStatus: found.cacheStatus,
    };
  }

  async getMany(keys: string[], options: GetManyOptions): Promise<[string, unknown][]> {
    for (const key of keys) {
      if (key === "") throw failed("GET_BULK", 400, "Key names must not be empty");
      if (key === "." || key === "..") {
        throw failed("GET_BULK", 400, `Illegal key name "${key}". Please use a different name.`);
      }
      const length = byteLength(key);
      if (length > MAX_KEY_BYTES) throw failed("GET_BULK", 414, keyTooLong(length));
    }
    const space = await this.#space("GET_BULK");
    const stored = await Promise.all(keys.map((key) => space.toStored(key)));
    const { withMetadata, ...native } = options;
    const names = stored.map(({ name }) => name);
    // The type has been checked to be one of these only by the native binding, which refuses others.
    const type = native as KVNamespaceGetOptions<"text">;
    if (!withMetadata) {
      const found = await this.#env.KV.get(names, type);
      return keys.map((key, index) => [key, found.get(names[index] ?? "") ?? null]);
    }
    const found = await this.#env.KV.getWithMetadata(names, type);
    return keys.map((key, index) => {
      const name = names[index] ?? "";
      const one = found.get(name) ?? null;
      return [key, one && { ...one, metadata: userMetadata(space, name, one.metadata) }];
    });
  }

  async putValue(
    key: string,
    value: ArrayBuffer | ArrayBufferView | ReadableStream,
    options: PutOptions,
  ): Promise<void> {
    const { stored } = await this.#locate("PUT", key);
    const { metadata: json, ...native } = options;
    const given: unknown = json === undefined ? undefined : JSON.parse(json);
    let metadata = given;
    if (stored.tail !== undefined) {
      const length = json === undefined ? 0 : byteLength(json);
      if (length > MAX_METADATA_BYTES) {
        const message = `Metadata length of ${length} exceeds limit of ${MAX_METADATA_BYTES}.`;
        throw failed("PUT", 413, message);
      }
      metadata = {
        mayflyKeyTail: stored.tail,
        ...(json !== undefined && { metadata: given }),
      } satisfies ShortenedMetadata;
    }
    await this.#env.KV.put(stored.name, value, {
      ...native,
      ...(metadata !== undefined && { metadata }),
    });
  }

  async deleteKey(key: string): Promise<void> {
    const { stored } = await this.#locate("DELETE", key);
    await this.#env.KV.delete(stored.name);
  }

  async listKeys(options: ListOptions): Promise<ListedKeys> {
    const space = await this.#space("GET");
    const { prefix, ...native } = options;
    const length = byteLength(prefix ?? "");
    if (length > MAX_KEY_BYTES) throw failed("GET", 414, keyTooLong(length));
    const page = await this.#env.KV.list({ ...native, prefix: space.listPrefix(prefix ?? "") });
    return {
      ...page,
      keys: page.keys
        // A cursor comes from outside and could have been made up.
        .filter(({ name }) => name.startsWith(space.prefix))
        .map(({ name, metadata, ...rest }) => {
          const shown = userMetadata(space, name, metadata ?? null);
          return {
            name: space.toKey({ name, tail: tailOf(space, name, metadata) }),
            ...rest,
            ...(shown !== null && { metadata: shown }),
          };
        })
        .filter(({ name }) => name.startsWith(prefix ?? "")),
    };
  }

  async #space(method: string): Promise<KeySpace> {
    const namespace = await recentNamespace(this.#env.CATALOG, this.#accountId, this.#namespaceId);
    if (!namespace) throw failed(method, 404, "namespace not found");
    return new KeySpace(namespace.number, MAX_KEY_BYTES);
  }

  async #locate(method: string, key: string): Promise<{ space: KeySpace; stored: StoredKey }> {
    if (key === "") throw new TypeError("Key name cannot be empty.");
    if (key === "." || key === "..") {
      throw new TypeError(`"${key}" is not allowed as a key name.`);
    }
    const length = byteLength(key);
    if (length > MAX_KEY_BYTES) throw failed(method, 414, keyTooLong(length));
    const space = await this.#space(method);
    return { space, stored: await space.toStored(key) };
  }
}

const failed = (method: string, status: number, message: string): Error =>
  new Error(`KV ${method} failed: ${status} ${message}`);

const keyTooLong = (length: number): string =>
  `UTF-8 encoded length of ${length} exceeds key length limit of ${MAX_KEY_BYTES}.`;

// Only the store itself writes under names of shortened keys, so their metadata has this shape.
const shortened = (metadata: unknown): ShortenedMetadata => metadata as ShortenedMetadata;

function tailOf(space: KeySpace, name: string, metadata: unknown): string | undefined {
  return space.isShortened(name) ? shortened(metadata).mayflyKeyTail : undefined;
}

function userMetadata(space: KeySpace, name: string, metadata: unknown): unknown {
  return space.isShortened(name) ? (shortened(metadata).metadata ?? null) : metadata;
}
