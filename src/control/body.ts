import type { Context } from "hono";
import type * as z from "zod";
import { ApiError } from "./error.ts";

// Of what was sent, in an error message.
const MAX_QUOTED_LENGTH = 200;

/**
 * The request's JSON as the schema wants it, whatever content type it came with: wrangler sends
 * much of its JSON as text. Throws `code` with the first field that is wrong.
 */
export async function readJson<Schema extends z.ZodType>(
  c: Context,
  schema: Schema,
  code: number,
): Promise<z.output<Schema>> {
  let value: unknown;
  try {
    value = JSON.parse(await c.req.text());
  } catch {
    throw new ApiError(400, code, "body: must be JSON");
  }
  const parsed = schema.safeParse(value, { reportInput: true });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const field = issue?.path.join(".") || "body";
  const given = JSON.stringify(issue?.input)?.slice(0, MAX_QUOTED_LENGTH);
  throw new ApiError(400, code, `${field}: got ${given}: ${issue?.message}`);
}
