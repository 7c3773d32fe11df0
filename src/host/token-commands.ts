import { openCredentials } from "./credentials.ts";
import { findApi } from "./environment-command.ts";
import { HostError } from "./host-error.ts";
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

async function call<T>(
  settings: Settings,
  method: string,
  path: string,
  body?: unknown,
): Promise<T> {
  const { accountId, token } = openCredentials(settings);
  const api = findApi(settings);
  let response: Response;
  try {
    response = await fetch(`${api}/accounts/${accountId}/tokens${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  } catch {
    throw new HostError(`No answer at ${api}: is mayfly start running, and PORT the same?`);
  }
  const text = await response.text();
  const { success, result, errors } = parseEnvelope<T>(text);
  if (!success) {
    const reasons = errors.map(({ code, message }) => `${message} (code ${code})`);
    throw new HostError(reasons.join("\n") || `${api} answered ${response.status}: ${text}`);
  }
  return result;
}

interface Envelope<T> {
  success: boolean;
  result: T;
  errors: { code: number; message: string }[];
}

function parseEnvelope<T>(text: string): Envelope<T> {
  try {
    return JSON.parse(text) as Envelope<T>;
  } catch {
    return { success: false, result: undefined as T, errors: [] };
  }
}
