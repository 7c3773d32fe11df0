import { RpcTarget } from "cloudflare:workers";
import { type Bucket, recentBucket, type WatchedBucket } from "../../catalog/buckets.ts";
import type { Env } from "../../env.ts";
import { notifying } from "../../triggers/bucket/notify.ts";
import type { Outcome } from "../../triggers/bucket/protocol.ts";
import { INLINE_BYTES } from "../client-arguments.ts";
import { byteLength, KeySpace, type StoredKey } from "../key-space.ts";
import type { FoundObject, ListedObjects, ObjectFields, R2Methods, SentBody } from "./protocol.ts";

/** https://developers.cloudflare.com/r2/platform/limits/ */
const MAX_KEY_BYTES = 1024;
const MAX_DELETED_KEYS = 1000;

/** The custom metadata of a shortened key has its tail under this name. */
const TAIL = "mayfly-key-tail";

const STORAGE_CLASSES = ["Standard", "InfrequentAccess"];

/**
 * The objects of one bucket, in the platform's own bucket. Serves bindings and the control API alike.
 * Whatever is not checked here, the native binding checks; both throw Cloudflare's messages.
 */
export class R2Store extends RpcTarget implements R2Methods {
  readonly #env: Env;
  readonly #accountId: string;
  readonly #bucketName: string;

  constructor(env: Env, accountId: string, bucketName: string) {
    super();
    this.#env = env;
    this.#accountId = accountId;
    this.#bucketName = bucketName;
  }

  async headObject(key: string): Promise<ObjectFields | null> {
    const { stored, bucket } = await this.#locate("head", key);
    const object = await this.#env.BUCKET.head(stored.name);
    return object && fieldsOf(object, key, stored, bucket);
  }

  async getObject(key: string, options: R2GetOptions): Promise<FoundObject | null> {
    const { stored, bucket } = await this.#locate("get", key);
    this.#checkSsec("get", options);
    // The overload for conditions is the one that says that a body may be missing.
    const object = await this.#env.BUCKET.get(
      stored.name,
      options as R2GetOptions & { onlyIf: R2Conditional },
    );
    if (!object) return null;
    const fields = fieldsOf(object, key, stored, bucket);
    if (!("body" in object)) return { fields };
    // A range that was answered has a length, whatever was asked for.
    const length = (object.range as { length?: number } | undefined)?.length ?? object.size;
    return { fields, body: length <= INLINE_BYTES ? await object.arrayBuffer() : object.body };
  }

  async putObject(
    key: string,
    value: SentBody | null,
    options: R2PutOptions,
  ): Promise<ObjectFields | null> {
    const { stored, bucket } = await this.#locate("put", key);
    this.#checkSsec("put", options);
    const nativeOptions = storedOptions("put", options, stored, bucket);
    return notifying(
      this.#env,
      bucket,
      "PutObject",
      [{ key, name: stored.name }],
      async () => {
        const object: R2Object | null = await this.#env.BUCKET.put(
          stored.name,
          value,
          nativeOptions,
        );
        return object && fieldsOf(object, key, stored, bucket);
      },
      (fields) => (fields ? toOutcome(fields) : "unchanged"),
    );
  }

  async deleteObjects(
    keys: string | string[],
    action: "DeleteObject" | "LifecycleDeletion" = "DeleteObject",
  ): Promise<void> {
    const list = Array.isArray(keys) ? keys : [keys];
    if (list.length > MAX_DELETED_KEYS) {
      const message = `The number of keys in the request must be between 1 and ${MAX_DELETED_KEYS} inclusive.`;
      throw failed("delete", message, 10027);
    }
    const { space, bucket } = await this.#bucket("delete");
    for (const key of list) checkKey("delete", key);
    const objects = await Promise.all(
      [...new Set(list)].map(async (key) => ({ key, name: (await space.toStored(key)).name })),
    );
    await notifying(
      this.#env,
      bucket,
      action,
      objects,
      async () => this.#env.BUCKET.delete(objects.map(({ name }) => name)),
      () => "deleted",
    );
  }

  async listObjects(options: R2ListOptions): Promise<ListedObjects> {
    const { prefix = "", startAfter, delimiter, ...rest } = options;
    for (const [field, value] of Object.entries({ prefix, startAfter, delimiter })) {
      if (value !== undefined && typeof value !== "string") throw notAString(field);
    }
    const { space, bucket } = await this.#bucket("list");
    const listPrefix = space.listPrefix(prefix);
    // Where the store lists more than was asked for, it cannot group by the delimiter either.
    const exact = listPrefix === space.prefix + prefix;
    const page = await this.#env.BUCKET.list({
      ...rest,
      prefix: listPrefix,
      ...(startAfter !== undefined && { startAfter: (await space.toStored(startAfter)).name }),
      ...(exact && delimiter && { delimiter }),
    });

    const objects: ObjectFields[] = [];
    const prefixes = new Set<string>();
    for (const found of page.delimitedPrefixes) {
      if (found.startsWith(space.prefix)) prefixes.add(found.slice(space.prefix.length));
    }
    for (const object of page.objects) {
      // A cursor comes from outside and could have been made up.
      if (!object.key.startsWith(space.prefix)) continue;
      const stored = { name: object.key, tail: await this.#tailOf(object, space) };
      const key = space.toKey(stored);
      if (!key.startsWith(prefix)) continue;
      const group = delimiter ? groupOf(key, prefix, delimiter) : undefined;
      if (group !== undefined) prefixes.add(group);
      else objects.push(fieldsOf(object, key, stored, bucket));
    }
    return {
      objects,
      truncated: page.truncated,
      ...(page.truncated && { cursor: page.cursor }),
      delimitedPrefixes: [...prefixes],
    };
  }

  async createUpload(key: string, options: R2MultipartOptions): Promise<string> {
    const { stored, bucket } = await this.#locate("createMultipartUpload", key);
    this.#checkSsec("createMultipartUpload", options);
    const { uploadId } = await this.#env.BUCKET.createMultipartUpload(
      stored.name,
      storedOptions("createMultipartUpload", options, stored, bucket),
    );
    return uploadId;
  }

  async uploadPart(
    key: string,
    uploadId: string,
    partNumber: number,
    value: SentBody,
    options: R2UploadPartOptions,
  ): Promise<R2UploadedPart> {
    const { stored } = await this.#locate("uploadPart", key);
    this.#checkSsec("uploadPart", options);
    const upload = this.#env.BUCKET.resumeMultipartUpload(stored.name, uploadId);
    return upload.uploadPart(partNumber, value, options);
  }

  async completeUpload(
    key: string,
    uploadId: string,
    parts: R2UploadedPart[],
  ): Promise<ObjectFields> {
    const { stored, bucket } = await this.#locate("completeMultipartUpload", key);
    const upload = this.#env.BUCKET.resumeMultipartUpload(stored.name, uploadId);
    return notifying(
      this.#env,
      bucket,
      "CompleteMultipartUpload",
      [{ key, name: stored.name }],
      async () => fieldsOf(await upload.complete(parts), key, stored, bucket),
      toOutcome,
    );
  }

  async abortUpload(key: string, uploadId: string): Promise<void> {
    const { stored } = await this.#locate("abortMultipartUpload", key);
    await this.#env.BUCKET.resumeMultipartUpload(stored.name, uploadId).abort();
  }

  async #bucket(action: string): Promise<{ bucket: WatchedBucket; space: KeySpace }> {
    const bucket = await recentBucket(this.#env.CATALOG, this.#accountId, this.#bucketName);
    if (!bucket) throw failed(action, "The specified bucket does not exist.", 10006);
    return { bucket, space: new KeySpace(bucket.number, MAX_KEY_BYTES) };
  }

  async #locate(
    action: string,
    key: string,
  ): Promise<{ bucket: WatchedBucket; stored: StoredKey }> {
    checkKey(action, key);
    const { bucket, space } = await this.#bucket(action);
    return { bucket, stored: await space.toStored(key) };
  }

  /** Outside Cloudflare nothing would encrypt the object, and nothing would ask for the key again. */
  #checkSsec(action: string, { ssecKey }: { ssecKey?: unknown }): void {
    if (ssecKey === undefined || this.#env.MAYFLY_RUNTIME === "edge") return;
    throw failed(action, "ssecKey: encryption with customer keys is not supported here.", 10029);
  }

  /** Listings have custom metadata only if it was asked for. */
  async #tailOf(object: R2Object, space: KeySpace): Promise<string | undefined> {
    if (!space.isShortened(object.key)) return undefined;
    const listed = object.customMetadata?.[TAIL];
    return listed ?? (await this.#env.BUCKET.head(object.key))?.customMetadata?.[TAIL];
  }
}

const failed = (action: string, message: string, code: number): Error =>
  new Error(`${action}: ${message} (${code})`);

const notAString = (field: string): TypeError =>
  new TypeError(
    `Incorrect type for the '${field}' field on 'ListOptions': the provided value is not of type 'string'.`,
  );

function checkKey(action: string, key: string): void {
  if (byteLength(key) > MAX_KEY_BYTES) {
    throw failed(action, "The specified object name is not valid.", 10020);
  }
}

/** The options for the native binding, with the bucket's storage class and the key's tail. */
function storedOptions<T extends R2PutOptions | R2MultipartOptions>(
  action: string,
  options: T,
  stored: StoredKey,
  bucket: Bucket,
): T {
  const storageClass = options.storageClass ?? bucket.storageClass;
  if (!STORAGE_CLASSES.includes(storageClass)) {
    const allowed = STORAGE_CLASSES.join(" or ");
    throw failed(action, `storageClass: got "${storageClass}", must be ${allowed}.`, 10029);
  }
  const all = { ...options, storageClass };
  if (stored.tail === undefined) return all;
  return { ...all, customMetadata: { ...options.customMetadata, [TAIL]: stored.tail } };
}

/** What is sent of an object: under its real key, without what the store added. */
function fieldsOf(object: R2Object, key: string, stored: StoredKey, bucket: Bucket): ObjectFields {
  const { httpMetadata, range, ssecKeyMd5 } = object;
  const { md5, sha1, sha256, sha384, sha512 } = object.checksums;
  let { customMetadata } = object;
  if (stored.tail !== undefined && customMetadata) {
    const { [TAIL]: _tail, ...own } = customMetadata;
    customMetadata = own;
  }
  return {
    key,
    version: object.version,
    size: object.size,
    etag: object.etag,
    httpEtag: object.httpEtag,
    checksums: {
      ...(md5 && { md5 }),
      ...(sha1 && { sha1 }),
      ...(sha256 && { sha256 }),
      ...(sha384 && { sha384 }),
      ...(sha512 && { sha512 }),
    },
    uploaded: object.uploaded,
    ...(httpMetadata && { httpMetadata }),
    ...(customMetadata && { customMetadata }),
    ...(range && { range }),
    // The local simulator keeps none.
    storageClass: object.storageClass || bucket.storageClass,
    ...(ssecKeyMd5 !== undefined && { ssecKeyMd5 }),
  };
}

/** What a notification of a change that left this object behind needs to know. */
const toOutcome = ({ version, size, etag, uploaded }: ObjectFields): Outcome => ({
  version,
  size,
  eTag: etag,
  uploadedAt: uploaded.getTime(),
});

/** The key up to the first delimiter after the prefix, or undefined if there is none. */
function groupOf(key: string, prefix: string, delimiter: string): string | undefined {
  const at = key.indexOf(delimiter, prefix.length);
  return at === -1 ? undefined : key.slice(0, at + delimiter.length);
}
