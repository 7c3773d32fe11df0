import { Hono, type Context } from "hono";
import * as z from "zod";
import type { Database } from "../catalog/databases.ts";
import { shardOf } from "../roles/contract.ts";
import type { ControlEnv } from "./app.ts";
import { readJson } from "./body.ts";
import { MALFORMED, requireDatabase } from "./database.ts";
import { success } from "./envelope.ts";
import { ApiError, invalid } from "./error.ts";
import { createLink, LINK_LIFETIME_MS } from "./links.ts";

// In the platform's bucket, only while a transfer lasts.
const PREFIX = "d1-transfer/";

/** Bytes of a part in which a dump is stored: R2 wants at least 5 MiB and all but the last equal. */
const PART_BYTES = 8 * 1024 * 1024;

const FILENAME = /^[\da-f-]{36}\.sql$/;

const ImportBody = z.discriminatedUnion("action", [
  z.object({ action: z.literal("init"), etag: z.string() }),
  z.object({ action: z.literal("ingest"), filename: z.string(), etag: z.string() }),
  z.object({ action: z.literal("poll"), current_bookmark: z.string() }),
]);

const ExportBody = z.object({
  output_format: z.literal("polling"),
  current_bookmark: z.string().optional(),
  dump_options: z
    .object({
      no_schema: z.boolean().optional(),
      no_data: z.boolean().optional(),
      tables: z.array(z.string()).optional(),
      // What is written suits both.
      compatibility: z.enum(["d1", "sqlite3_cli_only"]).optional(),
    })
    .optional(),
});

/**
 * Import and export of whole databases as SQL text, through links to objects of the platform's
 * bucket. Cloudflare lets clients poll for the end; here the answer comes when the work is done.
 */
export const d1Transfer = new Hono<ControlEnv>();

d1Transfer.post("/d1/database/:database/import", async (c) => {
  const database = await requireDatabase(c);
  const { id } = database;
  const body = await readJson(c, ImportBody, MALFORMED);
  switch (body.action) {
    case "init": {
      removeStale(c);
      const filename = `${crypto.randomUUID()}.sql`;
      return success({ upload_url: await createLink(c, "PUT", keyOf(id, filename)), filename });
    }
    case "ingest":
      return success(await ingest(c, database, body.filename, body.etag));
    case "poll":
      return success(failed("import", "Not currently importing anything."));
  }
});

d1Transfer.post("/d1/database/:database/export", async (c) => {
  const { id, shard } = await requireDatabase(c);
  const { dump_options: options = {} } = await readJson(c, ExportBody, MALFORMED);
  removeStale(c);
  const outcome = await shardOf(c.env, c.executionCtx as ExecutionContext, shard).dump(id, {
    noSchema: options.no_schema ?? false,
    noData: options.no_data ?? false,
    tables: options.tables ?? [],
  });
  if (!outcome.ok) return success(failed("export", outcome.error));
  const filename = `${crypto.randomUUID()}.sql`;
  await store(c.env.BUCKET, keyOf(id, filename), outcome.sql);
  return success({
    success: true,
    type: "export",
    status: "complete",
    messages: [],
    at_bookmark: "",
    result: { signed_url: await createLink(c, "GET", keyOf(id, filename)), filename },
  });
});

const keyOf = (databaseId: string, filename: string): string =>
  `${PREFIX}${databaseId}/${filename}`;

const failed = (type: string, error: string): Record<string, unknown> => ({
  success: false,
  type,
  status: "error",
  messages: [],
  error,
  errors: [error],
});

async function ingest(
  c: Context<ControlEnv>,
  { id: databaseId, shard }: Database,
  filename: string,
  etag: string,
): Promise<Record<string, unknown>> {
  if (!FILENAME.test(filename)) {
    throw invalid(MALFORMED, "filename", filename, "the one that init answered with");
  }
  const key = keyOf(databaseId, filename);
  const object = await c.env.BUCKET.get(key);
  if (!object) throw new ApiError(404, MALFORMED, `filename: "${filename}" was not uploaded`);
  try {
    if (object.etag !== etag) {
      throw invalid(MALFORMED, "etag", etag, `the MD5 of the uploaded file, ${object.etag}`);
    }
    const outcome = await shardOf(c.env, c.executionCtx as ExecutionContext, shard).import(
      databaseId,
      object.body,
    );
    if (!outcome.ok) return failed("import", outcome.error);
    return {
      success: true,
      type: "import",
      status: "complete",
      messages: [`Processed ${outcome.statements} queries.`],
      at_bookmark: outcome.bookmark,
      result: {
        num_queries: outcome.statements,
        final_bookmark: outcome.bookmark,
        meta: outcome.meta,
      },
    };
  } finally {
    await c.env.BUCKET.delete(key);
  }
}

/** Stores a stream of unknown length with no more than one part of it in memory. */
async function store(
  bucket: R2Bucket,
  key: string,
  stream: ReadableStream<Uint8Array>,
): Promise<void> {
  const upload = await bucket.createMultipartUpload(key);
  try {
    const parts: R2UploadedPart[] = [];
    for await (const part of inParts(stream)) {
      parts.push(await upload.uploadPart(parts.length + 1, part));
    }
    await upload.complete(parts);
  } catch (error) {
    await upload.abort();
    throw error;
  }
}

async function* inParts(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(PART_BYTES);
  let filled = 0;
  for await (let piece of stream) {
    while (piece.length > 0) {
      const taken = Math.min(piece.length, PART_BYTES - filled);
      buffer.set(piece.subarray(0, taken), filled);
      filled += taken;
      piece = piece.subarray(taken);
      if (filled === PART_BYTES) {
        yield buffer;
        filled = 0;
      }
    }
  }
  if (filled > 0) yield buffer.subarray(0, filled);
}

/** Removes, in passing, what others began to transfer and left until its link expired. */
function removeStale(c: Context<ControlEnv>): void {
  const sweep = async (): Promise<void> => {
    const { objects } = await c.env.BUCKET.list({ prefix: PREFIX });
    const stale = objects.filter(
      ({ uploaded }) => uploaded.getTime() < Date.now() - LINK_LIFETIME_MS,
    );
    await c.env.BUCKET.delete(stale.map(({ key }) => key));
  };
  c.executionCtx.waitUntil(sweep());
}
