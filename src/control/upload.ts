import type { Context } from "hono";
import { sign } from "../catalog/crypto.ts";
import type { ControlEnv } from "./app.ts";
import { ApiError } from "./error.ts";
import { MAX_FORM_BYTES } from "./upload-limits.ts";
import { parseMetadata, type UploadMetadata } from "./upload-metadata.ts";
import { parseModules, type UploadedModule } from "./upload-modules.ts";

/** A script's version as wrangler sends it. */
export interface Upload {
  metadata: UploadMetadata;
  modules: UploadedModule[];
  /** The same for the same upload. Keyed, since it is made of secrets too. */
  hash: string;
}

/**
 * The multipart form of an upload: a part `metadata`, and one for each module, whose name is the
 * module's. https://developers.cloudflare.com/workers/configuration/multipart-upload-metadata/
 */
export async function parseUpload(c: Context<ControlEnv>): Promise<Upload> {
  const parts = [...(await readForm(c)).entries()];
  const [[, text] = [], ...more] = parts.filter(([name]) => name === "metadata");
  if (text === undefined || more.length > 0) {
    throw new ApiError(400, 10021, "metadata: the form must have one part of this name");
  }
  const metadataText = typeof text === "string" ? text : await text.text();
  const metadata = parseMetadata(metadataText);
  const modules = await parseModules(
    parts.filter(([name]) => name !== "metadata"),
    metadata.main_module,
  );
  const content = [metadataText, ...modules.map(({ name, type, hash }) => [name, type, hash])];
  return { metadata, modules, hash: await sign(c.env.MAYFLY_SECRETS_KEY, JSON.stringify(content)) };
}

async function readForm(c: Context<ControlEnv>): Promise<FormData> {
  const type = c.req.header("content-type") ?? "";
  const { body } = c.req.raw;
  if (!type.startsWith("multipart/form-data") || !body) {
    throw new ApiError(400, 10021, `content-type: got "${type}", must be multipart/form-data`);
  }
  const limited = body.pipeThrough(limit(MAX_FORM_BYTES));
  try {
    return await new Response(limited, { headers: { "content-type": type } }).formData();
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError(400, 10021, `body: must be multipart/form-data: ${String(error)}`);
  }
}

/** Lets no more than so many bytes pass, whatever length the client said. */
function limit(bytes: number): TransformStream<Uint8Array, Uint8Array> {
  let passed = 0;
  return new TransformStream({
    transform(chunk, controller) {
      passed += chunk.byteLength;
      if (passed > bytes) {
        controller.error(new ApiError(413, 10027, `body: must be at most ${bytes} bytes`));
      } else {
        controller.enqueue(chunk);
      }
    },
  });
}
