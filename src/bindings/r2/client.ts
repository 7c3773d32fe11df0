// Runs inside users' isolates: turns the stub of an `R2Binding` into an `R2Bucket`.
import { pick, requireArguments, toBody, wrongArgument } from "../client-arguments.ts";
import { writeHttpMetadata } from "./http-metadata.ts";
import type {
  FoundObject,
  ListedObjects,
  ObjectChecksums,
  ObjectFields,
  R2Methods,
  SentBody,
} from "./protocol.ts";

const BUCKET = "R2Bucket";
const UPLOAD = "R2MultipartUpload";
const VALUE_TYPES = "JsReadableStream or ArrayBuffer or ArrayBufferView or string or Blob";

const CONDITIONS = [
  "etagMatches",
  "etagDoesNotMatch",
  "uploadedBefore",
  "uploadedAfter",
  "secondsGranularity",
] as const;
const RANGE = ["offset", "length", "suffix"] as const;
const HTTP_METADATA = [
  "contentType",
  "contentLanguage",
  "contentDisposition",
  "contentEncoding",
  "cacheControl",
  "cacheExpiry",
] as const;
const MULTIPART = ["httpMetadata", "customMetadata", "storageClass", "ssecKey"] as const;
const PUT = ["onlyIf", "md5", "sha1", "sha256", "sha384", "sha512", ...MULTIPART] as const;

class Checksums {
  declare readonly md5?: ArrayBuffer;
  declare readonly sha1?: ArrayBuffer;
  declare readonly sha256?: ArrayBuffer;
  declare readonly sha384?: ArrayBuffer;
  declare readonly sha512?: ArrayBuffer;

  constructor(checksums: ObjectChecksums) {
    Object.assign(this, checksums);
  }

  toJSON(): Record<string, string> {
    return Object.fromEntries(
      Object.entries(this)
        .filter((entry): entry is [string, ArrayBuffer] => entry[1] instanceof ArrayBuffer)
        .map(([name, bytes]) => [name, hex(bytes)]),
    );
  }
}

class HeadResult {
  declare readonly key: string;
  declare readonly httpMetadata?: R2HTTPMetadata;

  constructor(fields: ObjectFields) {
    // As members of the object itself, which is what JSON.stringify and Object.keys see.
    Object.assign(this, fields, { checksums: new Checksums(fields.checksums) });
  }

  writeHttpMetadata(headers: Headers): void {
    if (!(headers instanceof Headers)) {
      throw wrongArgument("writeHttpMetadata", "HeadResult", 1, "Headers");
    }
    if (!this.httpMetadata) {
      throw new TypeError(
        `HTTP metadata unknown for key \`${this.key}\`. Did you forget to add 'httpMetadata' to \`include\` when listing?`,
      );
    }
    writeHttpMetadata(this.httpMetadata, headers);
  }
}

class GetResult extends HeadResult {
  /** Reads the body as the runtime reads an object's, with the same errors. */
  readonly #response: Response;

  constructor(fields: ObjectFields, body: ArrayBuffer | ReadableStream) {
    super(fields);
    const contentType = fields.httpMetadata?.contentType;
    this.#response = new Response(body, {
      headers: contentType === undefined ? {} : { "content-type": contentType },
    });
  }

  get body(): ReadableStream {
    return this.#response.body as ReadableStream;
  }

  get bodyUsed(): boolean {
    return this.#response.bodyUsed;
  }

  arrayBuffer(): Promise<ArrayBuffer> {
    return this.#response.arrayBuffer();
  }

  async bytes(): Promise<Uint8Array> {
    return new Uint8Array(await this.#response.arrayBuffer());
  }

  text(): Promise<string> {
    return this.#response.text();
  }

  json<T>(): Promise<T> {
    return this.#response.json();
  }

  blob(): Promise<Blob> {
    return this.#response.blob();
  }
}

class R2MultipartUploadShim {
  readonly #stub: R2Methods;
  readonly key: string;
  readonly uploadId: string;

  constructor(stub: R2Methods, key: string, uploadId: string) {
    this.#stub = stub;
    this.key = key;
    this.uploadId = uploadId;
  }

  get [Symbol.toStringTag](): string {
    return UPLOAD;
  }

  async uploadPart(
    ...args: [partNumber: number, value: unknown, options?: R2UploadPartOptions]
  ): Promise<R2UploadedPart> {
    requireArguments(args.length, "uploadPart", UPLOAD, ["number", VALUE_TYPES]);
    const [partNumber, value, options] = args;
    const picked = pick(options, ["ssecKey"], ["uploadPart", UPLOAD, 3, "UploadPartOptions"]);
    const body = r2Body(value, "uploadPart", UPLOAD);
    return this.#stub.uploadPart(this.key, this.uploadId, partNumber, body, picked);
  }

  async complete(...args: [parts: R2UploadedPart[]]): Promise<HeadResult> {
    requireArguments(args.length, "complete", UPLOAD, ["Array"]);
    const [parts] = args;
    if (!Array.isArray(parts)) throw wrongArgument("complete", UPLOAD, 1, "Array");
    const sent = parts.map(({ partNumber, etag }) => ({ partNumber, etag }));
    return new HeadResult(await this.#stub.completeUpload(this.key, this.uploadId, sent));
  }

  async abort(): Promise<void> {
    await this.#stub.abortUpload(this.key, this.uploadId);
  }
}

class R2BucketShim {
  readonly #stub: R2Methods;

  constructor(stub: R2Methods) {
    this.#stub = stub;
  }

  get [Symbol.toStringTag](): string {
    return BUCKET;
  }

  async head(...args: [key: string]): Promise<HeadResult | null> {
    requireArguments(args.length, "head", BUCKET, ["string"]);
    const fields = await this.#stub.headObject(`${args[0]}`);
    return fields && new HeadResult(fields);
  }

  async get(...args: [key: string, options?: R2GetOptions]): Promise<HeadResult | null> {
    requireArguments(args.length, "get", BUCKET, ["string"]);
    const [key, options] = args;
    const members = ["onlyIf", "range", "ssecKey"] as const;
    const picked = pick(options, members, ["get", BUCKET, 2, "GetOptions"]);
    const found = await this.#stub.getObject(`${key}`, plain(picked));
    return found && result(found);
  }

  async put(
    ...args: [key: string, value: unknown, options?: R2PutOptions]
  ): Promise<HeadResult | null> {
    requireArguments(args.length, "put", BUCKET, ["string", VALUE_TYPES]);
    const [key, value, options] = args;
    const picked = pick(options, PUT, ["put", BUCKET, 3, "PutOptions"]);
    const body = value === undefined || value === null ? null : r2Body(value, "put", BUCKET);
    const fields = await this.#stub.putObject(`${key}`, body, plain(picked));
    return fields && new HeadResult(fields);
  }

  async delete(...args: [keys: string | string[]]): Promise<void> {
    requireArguments(args.length, "delete", BUCKET, ["string or Array"]);
    const [keys] = args;
    await this.#stub.deleteObjects(Array.isArray(keys) ? keys.map((key) => `${key}`) : `${keys}`);
  }

  async list(options?: R2ListOptions): Promise<ListResult> {
    const members = ["limit", "prefix", "cursor", "delimiter", "startAfter", "include"] as const;
    const picked = pick(options, members, ["list", BUCKET, 1, "ListOptions"]);
    const { objects, truncated, cursor, delimitedPrefixes } = await this.#stub.listObjects(picked);
    return {
      objects: objects.map((fields) => new HeadResult(fields)),
      truncated,
      ...(cursor !== undefined && { cursor }),
      delimitedPrefixes,
    };
  }

  async createMultipartUpload(
    ...args: [key: string, options?: R2MultipartOptions]
  ): Promise<R2MultipartUploadShim> {
    requireArguments(args.length, "createMultipartUpload", BUCKET, ["string"]);
    const [key, options] = args;
    const owner = ["createMultipartUpload", BUCKET, 2, "MultipartOptions"] as const;
    const uploadId = await this.#stub.createUpload(
      `${key}`,
      plain(pick(options, MULTIPART, owner)),
    );
    return new R2MultipartUploadShim(this.#stub, `${key}`, uploadId);
  }

  resumeMultipartUpload(...args: [key: string, uploadId: string]): R2MultipartUploadShim {
    requireArguments(args.length, "resumeMultipartUpload", BUCKET, ["string", "string"]);
    return new R2MultipartUploadShim(this.#stub, `${args[0]}`, `${args[1]}`);
  }
}

/** Options as they can be sent: of objects only the members that are known, of others all. */
function plain<T extends R2PutOptions & R2GetOptions>(options: T): T {
  const sent = { ...options };
  if (isObject(sent.onlyIf)) sent.onlyIf = pick(sent.onlyIf as R2Conditional, CONDITIONS);
  // Range is a union whose members are all optional here.
  if (isObject(sent.range)) sent.range = pick(sent.range as R2RangeMembers, RANGE) as R2Range;
  if (isObject(sent.httpMetadata)) {
    sent.httpMetadata = pick(sent.httpMetadata as R2HTTPMetadata, HTTP_METADATA);
  }
  if (isObject(sent.customMetadata)) {
    const entries = Object.entries(sent.customMetadata as Record<string, string>);
    sent.customMetadata = Object.fromEntries(entries.map(([name, value]) => [name, `${value}`]));
  }
  return sent;
}

interface ListResult extends Omit<ListedObjects, "objects"> {
  objects: HeadResult[];
}

interface R2RangeMembers {
  offset?: number;
  length?: number;
  suffix?: number;
}

const isObject = (value: unknown): boolean =>
  typeof value === "object" && value !== null && !(value instanceof Headers);

function r2Body(value: unknown, method: string, owner: string): SentBody {
  if (value instanceof ReadableStream) return value;
  if (
    typeof value === "string" ||
    value instanceof ArrayBuffer ||
    ArrayBuffer.isView(value) ||
    value instanceof Blob
  ) {
    return toBody(value);
  }
  throw wrongArgument(method, owner, 2, VALUE_TYPES);
}

const result = ({ fields, body }: FoundObject): HeadResult =>
  body ? new GetResult(fields, body) : new HeadResult(fields);

const hex = (bytes: ArrayBuffer): string =>
  Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** The bucket that `stub` gives access to. */
export function wrap(stub: R2Methods): R2Bucket {
  // The overloads of R2Bucket say more than one implementation can; the suite in test/bindings
  // holds it to them.
  return new R2BucketShim(stub) as unknown as R2Bucket;
}
