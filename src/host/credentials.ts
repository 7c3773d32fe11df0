import { randomBytes } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { HostError } from "./host-error.ts";
import { inDataFolder } from "./paths.ts";
import type { Settings } from "./settings.ts";

/** What a platform has of its own from its first start on. */
export interface Credentials {
  /** Id of the default account, 32 hex digits. */
  accountId: string;
  /** Root token. */
  token: string;
  /** Key of secrets at rest: 32 bytes in base64. Without it they are lost. */
  secretsKey: string;
}

/**
 * The credentials in the data folder, made if there are none yet. MAYFLY_TOKEN takes the place of
 * the token there. Only the owner may read them.
 */
export function openCredentials(settings: Settings): Credentials {
  const file = inDataFolder(settings.dataFolder).credentials;
  const kept = read(file) ?? create(file, settings.dataFolder);
  return { ...kept, token: settings.token ?? kept.token };
}

function read(file: string): Credentials | undefined {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new HostError(`${file}: cannot be read: ${(error as Error).message}`);
  }
  const value = parse(text);
  if (!value) {
    throw new HostError(
      `${file}: must be JSON with accountId (32 hex digits), token and secretsKey (32 bytes in base64)`,
    );
  }
  return value;
}

function parse(text: string): Credentials | undefined {
  try {
    const { accountId, token, secretsKey } = JSON.parse(text) as Record<string, unknown>;
    if (typeof accountId !== "string" || !/^[0-9a-f]{32}$/.test(accountId)) return undefined;
    if (typeof token !== "string" || token === "") return undefined;
    if (typeof secretsKey !== "string" || Buffer.from(secretsKey, "base64").length !== 32) {
      return undefined;
    }
    return { accountId, token, secretsKey };
  } catch {
    return undefined;
  }
}

function create(file: string, dataFolder: string): Credentials {
  const made: Credentials = {
    accountId: randomBytes(16).toString("hex"),
    token: randomBytes(32).toString("base64url"),
    secretsKey: randomBytes(32).toString("base64"),
  };
  const draft = `${file}.${process.pid}`;
  try {
    mkdirSync(dataFolder, { recursive: true, mode: 0o700 });
    writeFileSync(draft, `${JSON.stringify(made, undefined, 2)}\n`, { mode: 0o600, flush: true });
    // Whole or not at all, and never over those that another process makes at the same time.
    linkSync(draft, file);
    return made;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return read(file) ?? made;
    throw new HostError(
      `MAYFLY_DATA: ${dataFolder} cannot be written to: ${(error as Error).message}`,
    );
  } finally {
    rmSync(draft, { force: true });
  }
}
