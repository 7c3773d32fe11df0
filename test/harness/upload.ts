import { callApi, type Answer } from "./api.ts";
import { sendForm } from "./form.ts";
import type { ApiAccess } from "./platform.ts";

/** A script of one module. */
export interface Upload {
  name: string;
  /** Source of the main module. */
  code: string;
  isolation: "request" | "shared";
  /** Of the upload, such as bindings. */
  metadata?: Record<string, unknown>;
}

/**
 * Deploys the script and turns its address on as `wrangler deploy` would, without the time that
 * wrangler itself takes to start. Throws what the API answers if it refuses.
 */
export async function upload(
  platform: ApiAccess,
  { name, code, isolation, metadata }: Upload,
): Promise<void> {
  const script = `/accounts/${platform.accountId}/workers/scripts/${name}`;
  const modules = { "index.js": code };
  assertOk(
    await sendForm(platform, "PUT", script, { mayfly: { isolation }, ...metadata }, modules),
  );
  assertOk(await callApi(platform, "POST", `${script}/subdomain`, { enabled: true }));
}

function assertOk({ status, code, message }: Answer): void {
  if (status !== 200) throw new Error(`The API answered ${status}: ${code} ${message}`);
}
