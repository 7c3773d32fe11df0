import type { HonoRequest } from "hono";
import type * as z from "zod/mini";
import { Problem } from "./problem.ts";

/** The body as the schema describes it; throws a 400 or a 422 that names each wrong field. */
export async function parseBody<T>(request: HonoRequest, schema: z.ZodMiniType<T>): Promise<T> {
  let body: unknown;
  try {
    body = await request.json();
  } catch {
    throw new Problem(400, "body_invalid", "body: must be JSON");
  }
  const { success, data, error } = schema.safeParse(body);
  if (success) return data;
  const fields: Record<string, string> = {};
  for (const { path, message } of error.issues) fields[String(path[0] ?? "body")] ??= message;
  const message = Object.entries(fields).map(([field, text]) => `${field}: ${text}`);
  throw new Problem(422, "fields_invalid", message.join("; "), fields);
}
