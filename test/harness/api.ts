import type { ApiAccess } from "./platform.ts";

/** An answer of the API, in short. */
export interface Answer {
  status: number;
  /** Code of the first error; undefined on success. */
  code: number | undefined;
  message: string | undefined;
  // Whatever the test expects it to be.
  // oxlint-disable-next-line typescript/no-explicit-any
  result: any;
}

/** Calls the API, by default with the root token; the path starts behind `/client/v4`. */
export async function callApi(
  platform: ApiAccess,
  method: string,
  path: string,
  body?: unknown,
  token: string | undefined = platform.token,
): Promise<Answer> {
  const response = await fetch(platform.api + path, {
    method,
    headers: token === "" ? {} : { authorization: `Bearer ${token}` },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const { success, result, errors } = JSON.parse(text) as {
    success: boolean;
    result: unknown;
    errors: { code: number; message: string }[];
  };
  if (success !== response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return { status: response.status, code: errors[0]?.code, message: errors[0]?.message, result };
}
