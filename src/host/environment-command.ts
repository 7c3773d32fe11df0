import { readFileSync } from "node:fs";
import { openCredentials } from "./credentials.ts";
import { inDataFolder } from "./paths.ts";
import { apiAddress, type Settings } from "./settings.ts";

/**
 * Address of the API: by PORT if it is set, else where the platform was last started on this data
 * folder, so that a second terminal need not repeat the first one's settings.
 */
export function findApi(settings: Settings): string {
  if (settings.portGiven) return apiAddress(settings);
  try {
    return readFileSync(inDataFolder(settings.dataFolder).api, "utf8").trim();
  } catch {
    return apiAddress(settings);
  }
}

/** `mayfly env`: the three variables that point wrangler to this platform, for a shell. */
export function printEnvironment(settings: Settings): void {
  const { accountId, token } = openCredentials(settings);
  const variables = {
    CLOUDFLARE_API_BASE_URL: findApi(settings),
    CLOUDFLARE_API_TOKEN: token,
    CLOUDFLARE_ACCOUNT_ID: accountId,
  };
  for (const [name, value] of Object.entries(variables)) {
    process.stdout.write(`export ${name}='${value.replaceAll("'", `'\\''`)}'\n`);
  }
}
