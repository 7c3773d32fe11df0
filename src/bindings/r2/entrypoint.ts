import { WorkerEntrypoint } from "cloudflare:workers";
import type { Env } from "../../env.ts";
import { stateOf } from "../../roles/contract.ts";
import { callOnce } from "../call-once.ts";
import { describeR2 } from "../../observe/traces/operations.ts";
import { metered, type CallerProps } from "../metered.ts";
import type { FoundObject, ListedObjects, ObjectFields, R2Methods, SentBody } from "./protocol.ts";
import type { R2Store } from "./store.ts";

/** Set by the platform when it gives a version its bindings. */
export interface R2Props extends CallerProps {
  accountId: string;
  bucketName: string;
}

/** What an isolate holds of a bucket: passes each call on to the store, in one round trip. */
export class R2Binding extends WorkerEntrypoint<Env, R2Props> implements R2Methods {
  #call<T>(call: (store: R2Store) => Promise<T>): Promise<T> {
    const { accountId, bucketName } = this.ctx.props;
    return callOnce(stateOf(this.env, this.ctx).r2(accountId, bucketName), call);
  }

  headObject(key: string): Promise<ObjectFields | null> {
    return this.#call((store) => store.headObject(key));
  }

  getObject(key: string, options: R2GetOptions): Promise<FoundObject | null> {
    return this.#call((store) => store.getObject(key, options));
  }

  putObject(
    key: string,
    value: SentBody | null,
    options: R2PutOptions,
  ): Promise<ObjectFields | null> {
    return this.#call((store) => store.putObject(key, value, options));
  }

  deleteObjects(keys: string | string[]): Promise<void> {
    return this.#call((store) => store.deleteObjects(keys));
  }

  listObjects(options: R2ListOptions): Promise<ListedObjects> {
    return this.#call((store) => store.listObjects(options));
  }

  createUpload(key: string, options: R2MultipartOptions): Promise<string> {
    return this.#call((store) => store.createUpload(key, options));
  }

  uploadPart(
    key: string,
    uploadId: string,
    partNumber: number,
    value: SentBody,
    options: R2UploadPartOptions,
  ): Promise<R2UploadedPart> {
    return this.#call((store) => store.uploadPart(key, uploadId, partNumber, value, options));
  }

  completeUpload(key: string, uploadId: string, parts: R2UploadedPart[]): Promise<ObjectFields> {
    return this.#call((store) => store.completeUpload(key, uploadId, parts));
  }

  abortUpload(key: string, uploadId: string): Promise<void> {
    return this.#call((store) => store.abortUpload(key, uploadId));
  }
}
metered(
  R2Binding,
  "r2",
  {
    headObject: "head",
    getObject: "get",
    putObject: "put",
    deleteObjects: "delete",
    listObjects: "list",
    createUpload: "createMultipartUpload",
    uploadPart: "uploadPart",
    completeUpload: "completeMultipartUpload",
    abortUpload: "abortMultipartUpload",
  },
  describeR2,
);
