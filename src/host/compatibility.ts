import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./paths.ts";

/** The runtime's behaviour that the platform Worker is written for. */
export interface Compatibility {
  date: string;
  flags: string[];
}

/**
 * Date and flags from wrangler.toml, where the edge and `wrangler dev` find them too. Two lines of a
 * file of our own need no TOML parser.
 */
export function readCompatibility(): Compatibility {
  const toml = readFileSync(join(ROOT, "wrangler.toml"), "utf8");
  const date = /^compatibility_date = "([\d-]+)"$/m.exec(toml)?.[1];
  const flags = /^compatibility_flags = (\[[^\]]*\])$/m.exec(toml)?.[1];
  if (!date || !flags) {
    throw new Error("wrangler.toml: compatibility_date and compatibility_flags not found");
  }
  return { date, flags: JSON.parse(flags) as string[] };
}
