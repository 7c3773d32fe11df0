/** A value as it was found. Metadata is null if there is none. */
export interface FoundValue {
  value: ArrayBuffer | ReadableStream;
  metadata: unknown;
  cacheStatus: string | null;
}

export interface GetOptions {
  /** Whether the value shall come as a stream. */
  stream: boolean;
  /** In seconds. Accepted and checked; values are never older than the last write. */
  cacheTtl?: number;
}

export interface GetManyOptions {
  /** `text`, which is the default, or `json`. */
  type?: string;
  cacheTtl?: number;
  withMetadata: boolean;
}

export interface PutOptions {
  /** Seconds since 1970. */
  expiration?: number;
  /** Seconds from now. */
  expirationTtl?: number;
  /** JSON text. */
  metadata?: string;
}

export interface ListOptions {
  limit?: number;
  prefix?: string;
  cursor?: string;
}

export type ListedKeys = KVNamespaceListResult<unknown>;

/**
 * What a namespace can be asked for, from the isolate's shim through the executor to the store. The
 * names are none that a service binding has of its own at any compatibility date.
 */
export interface KvMethods {
  /** The value, or null if there is none or it has expired. */
  getValue(key: string, options: GetOptions): Promise<FoundValue | null>;
  /**
   * Each key with its value, or with value and metadata, or with null, in the order asked for: up to
   * 100 keys.
   */
  getMany(keys: string[], options: GetManyOptions): Promise<[string, unknown][]>;
  /** A value of up to 25 MiB. */
  putValue(
    key: string,
    value: ArrayBuffer | ArrayBufferView | ReadableStream,
    options: PutOptions,
  ): Promise<void>;
  deleteKey(key: string): Promise<void>;
  /** Up to 1,000 keys in the order of their UTF-8 form. */
  listKeys(options: ListOptions): Promise<ListedKeys>;
}
