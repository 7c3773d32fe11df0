import { invalid } from "../control/error.ts";

/** A script's name is a label of its address, so it can be no longer than one in DNS. */
export const MAX_SCRIPT_NAME_LENGTH = 63;

/** The name, if a script may be called so; else throws Cloudflare's 10016. */
export function parseScriptName(name: string): string {
  if (name.length > MAX_SCRIPT_NAME_LENGTH || !/^[a-z0-9_][a-z0-9_-]*$/.test(name)) {
    throw invalid(
      10016,
      "name",
      name,
      `1 to ${MAX_SCRIPT_NAME_LENGTH} of a-z, 0-9, "-" and "_", and not begin with "-"`,
    );
  }
  return name;
}
