import { callApi } from "./call-api.ts";
import type { Settings } from "./settings.ts";

/** A token as the API shows it; `value` only when it is made. */
interface Token {
  id: string;
  name: string;
  access: "read" | "write";
  issued_on: string;
  value?: string;
}

// Far more than anyone makes.
const ALL = "?per_page=10000";

/** `mayfly token create`: prints the new token, which is shown this once. */
export async function createToken(
  settings: Settings,
  name: string,
  access: "read" | "write",
): Promise<void> {
  const token = await call<Token>(settings, "POST", "", { name, access });
  process.stderr.write(`Token ${token.id} (${token.access}), shown only now:\n`);
  process.stdout.write(`${token.value}\n`);
}

/** `mayfly token list`: one line per token. */
export async function listTokens(settings: Settings): Promise<void> {
  for (const { id, access, issued_on, name } of await call<Token[]>(settings, "GET", ALL)) {
    process.stdout.write(`${id}  ${access.padEnd(5)}  ${issued_on}  ${name}\n`);
  }
}

/** `mayfly token revoke`. */
export async function revokeToken(settings: Settings, id: string): Promise<void> {
  await call(settings, "DELETE", `/${encodeURIComponent(id)}`);
  process.stderr.write(`Token ${id} is revoked\n`);
}

const call = <T>(settings: Settings, method: string, path: string, body?: unknown): Promise<T> =>
  callApi(settings, method, `/tokens${path}`, body);
