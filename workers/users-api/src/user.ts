import * as z from "zod/mini";

/** A user as stored and as answered by the API. */
export interface User {
  id: string;
  name: string;
  /** Lower case, unique. */
  email: string;
  /** Starts at 1 and grows by one with each change. */
  version: number;
  created_at: string;
  updated_at: string;
}

/** Longest address that mail can be sent to, in characters: RFC 5321 with erratum 1690. */
const MAX_EMAIL_LENGTH = 254;
const MAX_NAME_LENGTH = 100;

const name = z
  .string("must be a string")
  .check(
    z.trim(),
    z.minLength(1, "must not be empty"),
    z.maxLength(MAX_NAME_LENGTH, `must have at most ${MAX_NAME_LENGTH} characters`),
  );
const email = z
  .string("must be a string")
  .check(
    z.trim(),
    z.toLowerCase(),
    z.maxLength(MAX_EMAIL_LENGTH, `must have at most ${MAX_EMAIL_LENGTH} characters`),
    z.regex(z.regexes.email, "must be an email address"),
  );

/** Body of a creation. */
export const NewUser = z.strictObject({ name, email }, { error: describeObject });

/** Body of an update: at least one field, the others stay as they are. */
export const UserChange = z
  .strictObject({ name: z.optional(name), email: z.optional(email) }, { error: describeObject })
  .check(
    z.refine(({ name, email }) => name !== undefined || email !== undefined, {
      error: "must have name or email",
    }),
  );

export type NewUser = z.infer<typeof NewUser>;
export type UserChange = z.infer<typeof UserChange>;

function describeObject(issue: { code?: string; keys?: string[] }): string {
  return issue.code === "unrecognized_keys"
    ? `unknown: ${issue.keys?.join(", ")}; allowed are name, email`
    : "must be a JSON object";
}
