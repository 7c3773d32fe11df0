import { hex, sha256 } from "../catalog/crypto.ts";
import type { ModuleType, SourceModule } from "../catalog/source.ts";
import type { StoredModule } from "../catalog/versions.ts";
import { RESERVED_FOLDER } from "../isolates/module-graph.ts";
import { ApiError, invalid, notBuilt } from "./error.ts";
import { MAX_CODE_BYTES, MAX_MODULES } from "./upload-limits.ts";

/** A module with its code and what identifies it. */
export type UploadedModule = SourceModule & StoredModule;

const TYPES = new Map<string, ModuleType>([
  ["application/javascript+module", "js"],
  ["text/javascript+module", "js"],
  ["application/javascript", "cjs"],
  ["text/javascript", "cjs"],
  ["application/wasm", "wasm"],
  ["text/plain", "text"],
  ["application/octet-stream", "data"],
  ["application/json", "json"],
]);

const SOURCE_MAP = "application/source-map";
const PYTHON = new Set(["text/x-python", "text/x-python-requirement"]);

/** The form's modules, all parts but `metadata`. Source maps are no code and left out. */
export async function parseModules(
  parts: [string, File | string][],
  mainModule: string,
): Promise<UploadedModule[]> {
  const modules: UploadedModule[] = [];
  const paths = new Set<string>();
  let total = 0;
  for (const [name, part] of parts) {
    if (typeof part === "string") {
      throw new ApiError(400, 10021, `${name}: the part must have a file name and a content type`);
    }
    const mime = part.type.split(";", 1)[0]?.trim().toLowerCase() ?? "";
    if (mime === SOURCE_MAP) continue;
    if (PYTHON.has(mime)) throw notBuilt(name, "Python modules are");
    const type = TYPES.get(mime);
    if (!type) throw invalid(10021, `${name}: content type`, mime, [...TYPES.keys()].join(", "));

    const path = modulePath(name);
    if (paths.has(path)) throw invalid(10021, "module", name, "the name of one module only");
    paths.add(path);
    if (paths.size > MAX_MODULES) throw tooLarge(`modules: must be at most ${MAX_MODULES}`);

    const bytes = await part.arrayBuffer();
    const hash = hex(await sha256(bytes));
    const content = toContent(name, type, bytes);
    total += messageBytes(content);
    if (total > MAX_CODE_BYTES) {
      throw tooLarge(
        `modules: must be at most ${MAX_CODE_BYTES} bytes; text with characters beyond Latin-1 counts two bytes for each`,
      );
    }
    modules.push({ name, type, hash, size: bytes.byteLength, content });
  }
  checkMainModule(modules, mainModule);
  return modules;
}

/** The name as the path that imports resolve to, so that one cannot be written in two ways. */
function modulePath(name: string): string {
  const path: string[] = [];
  for (const segment of name.split("/")) {
    if (segment === "" || segment === ".") continue;
    if (segment !== "..") path.push(segment);
    else if (path.pop() === undefined)
      throw invalid(10021, "module", name, "a path that stays inside");
  }
  const normal = path.join("/");
  if (normal === "" || name.startsWith("/"))
    throw invalid(10021, "module", name, "a relative path");
  if (`${normal}/`.startsWith(RESERVED_FOLDER)) {
    throw invalid(10021, "module", name, `outside of ${RESERVED_FOLDER}, which is the platform's`);
  }
  // Those of the runtime, such as cloudflare:workers.
  if (/^[a-z]+:/i.test(normal)) throw invalid(10021, "module", name, "a path without a scheme");
  return normal;
}

function checkMainModule(modules: UploadedModule[], mainModule: string): void {
  const main = modules.find(({ name }) => name === mainModule);
  if (!main) {
    const names = modules.map(({ name }) => name).join(", ");
    throw invalid(10021, "main_module", mainModule, `one of the modules uploaded: ${names}`);
  }
  if (main.type !== "js") {
    throw invalid(10021, "main_module", mainModule, "an ES module: application/javascript+module");
  }
}

function toContent(name: string, type: ModuleType, bytes: ArrayBuffer): string | ArrayBuffer {
  if (type === "wasm" || type === "data") return bytes;
  const text = new TextDecoder().decode(bytes);
  if (type === "json") {
    try {
      JSON.parse(text);
    } catch (error) {
      throw new ApiError(400, 10021, `${name}: must be JSON: ${String(error)}`);
    }
  }
  return text;
}

/** What the content takes in a message between processes: V8 writes a string in one width. */
function messageBytes(content: string | ArrayBuffer): number {
  if (typeof content !== "string") return content.byteLength;
  return /[\u0100-\uffff]/.test(content) ? content.length * 2 : content.length;
}

// wrangler explains this code by the largest dependencies.
const tooLarge = (message: string): ApiError => new ApiError(413, 10027, message);
