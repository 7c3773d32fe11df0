import { openCredentials } from "./credentials.ts";
import { findApi } from "./environment-command.ts";
import { HostError } from "./host-error.ts";
import type { Settings } from "./settings.ts";

/** The API has answered that it will not, or cannot. */
export class ApiRefusedError extends HostError {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/**
 * Calls the API of the running platform for its default account, with the root token. The path starts behind
 * the account. Throws a `HostError` with the API's own words if it refuses, or if nobody answers.
 */
export async function callApi<T>(
  settings: Settings,
  method: string,
  path: string,
  body?: unknown,
): Promise<T> {
  return (await callApiPage<T>(settings, method, path, body)).result;
}

/** The same for listings that go on: with what is needed to ask for more. */
export async function callApiPage<T>(
  settings: Settings,
  method: string,
  path: string,
  body?: unknown,
): Promise<Page<T>> {
  const { accountId, token } = openCredentials(settings);
  const api = findApi(settings);
  let response: Response;
  try {
    response = await fetch(`${api}/accounts/${accountId}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  } catch {
    throw new HostError(`No answer at ${api}: is mayfly start running, and PORT the same?`);
  }
  const text = await response.text();
  const { success, result, result_info = {}, errors } = parseEnvelope<T>(text);
  if (!success) {
    const reasons = errors.map(({ code, message }) => `${message} (code ${code})`);
    throw new ApiRefusedError(
      response.status,
      reasons.join("\n") || `${api} answered ${response.status}: ${text}`,
    );
  }
  return { result, info: result_info };
}

export interface Page<T> {
  result: T;
  info: Record<string, unknown>;
}

interface Envelope<T> {
  success: boolean;
  result: T;
  result_info?: Record<string, unknown>;
  errors: { code: number; message: string }[];
}

function parseEnvelope<T>(text: string): Envelope<T> {
  try {
    return JSON.parse(text) as Envelope<T>;
  } catch {
    return { success: false, result: undefined as T, errors: [] };
  }
}
