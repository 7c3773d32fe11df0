import type { ApiAccess } from "./platform.ts";
import type { Answer } from "./api.ts";

/** A module of an upload: its content, and its content type unless it is an ES module. */
export type FormModule =
  string | Uint8Array<ArrayBuffer> | [string | Uint8Array<ArrayBuffer>, string];

export const MAIN = "export default { fetch: () => new Response('ok') };";

/**
 * Sends an upload that wrangler itself would not send: any metadata, modules by name. Without
 * `metadata.main_module` it is `index.js`, added if it is not among the modules.
 */
export async function sendForm(
  platform: ApiAccess,
  method: "PUT" | "POST",
  path: string,
  metadata: Record<string, unknown>,
  modules: Record<string, FormModule> = { "index.js": MAIN },
): Promise<Answer> {
  const form = new FormData();
  const complete = { main_module: "index.js", compatibility_date: "2026-07-01", ...metadata };
  form.set("metadata", JSON.stringify(complete));
  for (const [name, module] of Object.entries(modules)) {
    const [content, type] = Array.isArray(module)
      ? module
      : [module, "application/javascript+module"];
    form.set(name, new File([content], name, { type }));
  }
  const response = await fetch(platform.api + path, {
    method,
    body: form,
    headers: { authorization: `Bearer ${platform.token}` },
  });
  const { result, errors } = (await response.json()) as {
    result: unknown;
    errors: { code: number; message: string }[];
  };
  return { status: response.status, code: errors[0]?.code, message: errors[0]?.message, result };
}
