import { randomBytes } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

const file = join(dirname(import.meta.dirname), ".dev.vars");

/**
 * Makes `.dev.vars`, from which `wrangler dev` takes what is secret or differs from the edge, unless
 * there is one. Only its owner may read it: it holds the root token of the development platform.
 */
export function writeDevVars(): void {
  if (existsSync(file)) return;
  const values = {
    MAYFLY_RUNTIME: "workerd",
    MAYFLY_PORT: "8787",
    MAYFLY_TOKEN: randomBytes(32).toString("base64url"),
    MAYFLY_ACCOUNT_ID: randomBytes(16).toString("hex"),
    MAYFLY_SECRETS_KEY: randomBytes(32).toString("base64"),
  };
  const lines = Object.entries(values).map(([name, value]) => `${name}="${value}"\n`);
  writeFileSync(file, lines.join(""), { mode: 0o600, flag: "wx" });
}
