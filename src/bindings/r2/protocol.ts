/** What is known of an object without its body: the members of R2Object that can be sent. */
export interface ObjectFields {
  key: string;
  version: string;
  size: number;
  etag: string;
  httpEtag: string;
  checksums: ObjectChecksums;
  uploaded: Date;
  httpMetadata?: R2HTTPMetadata;
  customMetadata?: Record<string, string>;
  range?: R2Range;
  storageClass: string;
  ssecKeyMd5?: string;
}

export type ObjectChecksums = Omit<R2Checksums, "toJSON">;

export interface FoundObject {
  fields: ObjectFields;
  /** Missing if a condition of the request did not hold. */
  body?: ArrayBuffer | ReadableStream;
}

export interface ListedObjects {
  objects: ObjectFields[];
  truncated: boolean;
  cursor?: string;
  delimitedPrefixes: string[];
}

/** A body on its way to the store; a stream must have a known length. */
export type SentBody = ArrayBuffer | ArrayBufferView | ReadableStream;

/**
 * What a bucket can be asked for, from the isolate's shim through the executor to the store. Options
 * are the user's own, of any type: the native binding checks them. The names are none that a service
 * binding has of its own at any compatibility date.
 */
export interface R2Methods {
  headObject(key: string): Promise<ObjectFields | null>;
  getObject(key: string, options: R2GetOptions): Promise<FoundObject | null>;
  /** Null if a condition of the request did not hold. */
  putObject(
    key: string,
    value: SentBody | null,
    options: R2PutOptions,
  ): Promise<ObjectFields | null>;
  /** Up to 1,000 keys. */
  deleteObjects(keys: string | string[]): Promise<void>;
  listObjects(options: R2ListOptions): Promise<ListedObjects>;
  /** Returns the upload's id. */
  createUpload(key: string, options: R2MultipartOptions): Promise<string>;
  uploadPart(
    key: string,
    uploadId: string,
    partNumber: number,
    value: SentBody,
    options: R2UploadPartOptions,
  ): Promise<R2UploadedPart>;
  completeUpload(key: string, uploadId: string, parts: R2UploadedPart[]): Promise<ObjectFields>;
  abortUpload(key: string, uploadId: string): Promise<void>;
}
