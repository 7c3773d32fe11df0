import { existsSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setImmediate as breathe } from "node:timers/promises";
import type { StoredBytes } from "../usage/storage/protocol.ts";

/** Rows read at once; others get their turn in between. */
const PAGE = 1_000;

const PREFIX = "substr(key, 1, instr(key, ':'))";
// Names of Miniflare's: the version is pinned, and a test tells if they change.
const KV_PAGE = `
  SELECT key, ${PREFIX} AS prefix, blob_id FROM _mf_entries
  WHERE key > ? AND (expiration IS NULL OR expiration >= ?) ORDER BY key LIMIT ${PAGE}`;
const R2_PAGE = `
  SELECT key, ${PREFIX} AS prefix, size FROM _mf_objects WHERE key > ? ORDER BY key LIMIT ${PAGE}`;
const R2_PARTS = `
  SELECT ${PREFIX} AS prefix, sum(size) AS size
  FROM _mf_multipart_parts JOIN _mf_multipart_uploads USING (upload_id)
  WHERE object_key IS NULL AND state = 0 GROUP BY prefix`;

/**
 * Measures what is kept in the state process's folder. Reads the simulators' own tables: they list no sizes of
 * values, and only some objects at a time.
 */
export async function storedBytes(stateFolder: string): Promise<StoredBytes> {
  return {
    kv: await kvBytes(join(stateFolder, "kv")),
    r2: await r2Bytes(join(stateFolder, "r2/miniflare-R2BucketObject")),
    logs: await databaseBytes(join(stateFolder, "do/mayfly-LogsObject")),
  };
}

async function kvBytes(folder: string): Promise<Record<string, number>> {
  const bytes: Record<string, number> = {};
  const blobs = join(folder, "kv/blobs");
  for (const path of await databasesIn(join(folder, "miniflare-KVNamespaceObject"))) {
    using db = open(path);
    const page = db.prepare(KV_PAGE);
    for (let last = ""; ; await breathe()) {
      const rows = page.all(last, Date.now()) as { key: string; prefix: string; blob_id: string }[];
      const sizes = await Promise.all(rows.map(({ blob_id }) => fileBytes(join(blobs, blob_id))));
      rows.forEach(({ prefix }, index) => count(bytes, prefix, sizes[index] ?? 0));
      if (rows.length < PAGE) break;
      last = rows.at(-1)?.key ?? last;
    }
  }
  return bytes;
}

async function r2Bytes(folder: string): Promise<Record<string, number>> {
  const bytes: Record<string, number> = {};
  for (const path of await databasesIn(folder)) {
    using db = open(path);
    const page = db.prepare(R2_PAGE);
    for (let last = ""; ; await breathe()) {
      const rows = page.all(last) as { key: string; prefix: string; size: number }[];
      for (const { prefix, size } of rows) count(bytes, prefix, size);
      if (rows.length < PAGE) break;
      last = rows.at(-1)?.key ?? last;
    }
    const parts = db.prepare(R2_PARTS).all() as { prefix: string; size: number }[];
    for (const { prefix, size } of parts) count(bytes, prefix, size);
  }
  return bytes;
}

async function databaseBytes(folder: string): Promise<Record<string, number>> {
  const bytes: Record<string, number> = {};
  for (const path of await databasesIn(folder)) {
    using db = open(path);
    const { size } = db
      .prepare("SELECT page_count * page_size AS size FROM pragma_page_count, pragma_page_size")
      .get() as { size: number };
    bytes[path.slice(folder.length + 1, -".sqlite".length)] = size;
    await breathe();
  }
  return bytes;
}

const open = (path: string): DatabaseSync => new DatabaseSync(path, { readOnly: true });

function count(bytes: Record<string, number>, key: string, more: number): void {
  bytes[key] = (bytes[key] ?? 0) + more;
}

/** Beside the one that Miniflare keeps its objects' names in. */
async function databasesIn(folder: string): Promise<string[]> {
  if (!existsSync(folder)) return [];
  return (await readdir(folder))
    .filter((name) => name.endsWith(".sqlite") && name !== "metadata.sqlite")
    .map((name) => join(folder, name));
}

/** Nothing if it has just been removed. */
const fileBytes = (path: string): Promise<number> =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  );
