import type { Platform } from "./platform.ts";

/** A script of one module, as `wrangler deploy` would upload it without the CLI's own start-up time. */
export interface Upload {
  name: string;
  /** Source of the main module. */
  code: string;
  isolation: "request" | "shared";
}

/** Deploys the script through the API and turns on its address, or throws what the API answered. */
export async function upload(platform: Platform, { name, code, isolation }: Upload): Promise<void> {
  const metadata = {
    main_module: "index.js",
    compatibility_date: "2026-07-01",
    mayfly: { isolation },
  };
  const form = new FormData();
  form.set("metadata", JSON.stringify(metadata));
  form.set("index.js", new File([code], "index.js", { type: "application/javascript+module" }));
  const script = `/accounts/${platform.accountId}/workers/scripts/${name}`;
  await call(platform, script, { method: "PUT", body: form });
  await call(platform, `${script}/subdomain`, {
    method: "POST",
    body: JSON.stringify({ enabled: true }),
  });
}

async function call(platform: Platform, path: string, init: RequestInit): Promise<void> {
  const response = await platform.fetchApi(path, init);
  const text = await response.text();
  if (!response.ok) throw new Error(`${init.method} ${path}: ${response.status} ${text}`);
}
