import { WorkerEntrypoint } from "cloudflare:workers";
import type { Env } from "../../env.ts";
import { stateOf } from "../../roles/contract.ts";
import { callOnce } from "../call-once.ts";
import { describeKv } from "../../observe/traces/operations.ts";
import { metered, type CallerProps } from "../metered.ts";
import type {
  FoundValue,
  GetManyOptions,
  GetOptions,
  KvMethods,
  ListedKeys,
  ListOptions,
  PutOptions,
} from "./protocol.ts";
import type { KvStore } from "./store.ts";

/** Set by the platform when it gives a version its bindings. */
export interface KvProps extends CallerProps {
  accountId: string;
  namespaceId: string;
}

/** What an isolate holds of a namespace: passes each call on to the store, in one round trip. */
export class KvBinding extends WorkerEntrypoint<Env, KvProps> implements KvMethods {
  #call<T>(call: (store: KvStore) => Promise<T>): Promise<T> {
    const { accountId, namespaceId } = this.ctx.props;
    return callOnce(stateOf(this.env, this.ctx).kv(accountId, namespaceId), call);
  }

  getValue(key: string, options: GetOptions): Promise<FoundValue | null> {
    return this.#call((store) => store.getValue(key, options));
  }

  getMany(keys: string[], options: GetManyOptions): Promise<[string, unknown][]> {
    return this.#call((store) => store.getMany(keys, options));
  }

  putValue(
    key: string,
    value: ArrayBuffer | ArrayBufferView | ReadableStream,
    options: PutOptions,
  ): Promise<void> {
    return this.#call((store) => store.putValue(key, value, options));
  }

  deleteKey(key: string): Promise<void> {
    return this.#call((store) => store.deleteKey(key));
  }

  listKeys(options: ListOptions): Promise<ListedKeys> {
    return this.#call((store) => store.listKeys(options));
  }
}
metered(
  KvBinding,
  "kv",
  {
    getValue: "get",
    getMany: "get",
    putValue: "put",
    deleteKey: "delete",
    listKeys: "list",
  },
  describeKv,
);
