/** What the files of the state process hold, in bytes: see `src/host/stored-bytes.ts`. */
export interface StoredBytes {
  /** Values of KV, by the first of their keys up to the colon: their namespace's prefix. */
  kv: Record<string, number>;
  /** Objects of R2 and the parts of unfinished uploads, likewise. */
  r2: Record<string, number>;
  /** Databases of objects that keep logs, by the object's id. */
  logs: Record<string, number>;
}
