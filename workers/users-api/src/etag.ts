import { Problem } from "./problem.ts";
import type { User } from "./user.ts";

/** A user's version as an entity tag. */
export const toEtag = ({ version }: User): string => `"${version}"`;

/** The version that an `If-Match` header asks for, or undefined if any will do. */
export function parseIfMatch(header: string | undefined): number | undefined {
  if (header === undefined || header === "*") return undefined;
  const [, version] = /^"(\d{1,15})"$/.exec(header) ?? [];
  if (!version) {
    const message = `if-match: got ${header}, must be one ETag of the user, such as "1"`;
    throw new Problem(400, "if_match_invalid", message);
  }
  return Number(version);
}

/** Whether an `If-None-Match` header names the tag. */
export function noneMatches(header: string | undefined, etag: string): boolean {
  const tags = (header ?? "").split(",").map((tag) => tag.trim().replace(/^W\//, ""));
  return tags.includes(etag) || tags.includes("*");
}
