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
  return parse(schema, parseJson(await c.req.text(), code, "body"), code, "body");
}

/** The JSON of `text`; throws `code` naming the field that it is. */
export function parseJson(text: string, code: number, field: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiError(400, code, `${field}: must be JSON`);
  }
}

/** The value as the schema wants it. Throws `code` with the first field that is wrong. */
export function parse<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  code: number,
  whole: string,
): z.output<Schema> {
  const parsed = schema.safeParse(value, { reportInput: true });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  if (issue?.code === "unrecognized_keys") {
    const field = [...issue.path, issue.keys[0]].join(".");
    throw new ApiError(400, code, `${field}: Mayfly knows no such member`);
  }
  const field = issue?.path.join(".") || whole;
  const given = JSON.stringify(issue?.input)?.slice(0, MAX_QUOTED_LENGTH);
  throw new ApiError(400, code, `${field}: got ${given}: ${issue?.message}`);
}
