/** One module of a version, as uploaded. */
export interface SourceModule {
  name: string;
  type: ModuleType;
  content: string | ArrayBuffer;
}

/** The kinds that the Worker Loader takes and Mayfly accepts. */
export type ModuleType = "js" | "cjs" | "text" | "data" | "json" | "wasm";

/**
 * A binding as an isolate needs it: Cloudflare's shape, with secrets in clear and with ids that the
 * account was checked to own when the version was made.
 */
export type SourceBinding =
  | { type: "plain_text" | "secret_text"; name: string; text: string }
  | { type: "json"; name: string; json: unknown }
  | { type: "kv_namespace"; name: string; namespace_id: string }
  | { type: "r2_bucket"; name: string; bucket_name: string }
  | { type: "d1"; name: string; id: string }
  | { type: "queue"; name: string; queue_name: string; delivery_delay?: number }
  | { type: "service"; name: string; service: string; entrypoint?: string; props?: unknown }
  | { type: "version_metadata"; name: string };

/** Everything an isolate of a version is made of. */
export interface IsolateSource {
  accountId: string;
  scriptName: string;
  versionId: string;
  /** `workers/tag` of the upload, and when it was; what the version_metadata binding shows. */
  versionTag: string;
  createdAt: string;
  compatibilityDate: string;
  compatibilityFlags: string[];
  mainModule: string;
  modules: SourceModule[];
  bindings: SourceBinding[];
  /** The shard of each D1 database that is bound, by the database's id. */
  shards: Record<string, number>;
}

/** Size of all its modules, in bytes (of text: in characters). */
export function codeSize({ modules }: IsolateSource): number {
  return modules.reduce(
    (sum, { content }) => sum + (typeof content === "string" ? content.length : content.byteLength),
    0,
  );
}

/** Ids of the D1 databases among the bindings. */
export const databaseIds = (bindings: { type: string; id?: string }[]): string[] =>
  bindings.flatMap(({ type, id }) => (type === "d1" && id !== undefined ? [id] : []));
