import { DatabaseSync } from "node:sqlite";
import { HostError } from "./host-error.ts";
import { inDataFolder } from "./paths.ts";

/**
 * Takes the data folder for this process, or throws a `HostError` if another one has it. The lock is
 * one of the operating system, taken by way of SQLite, and so ends with the process in any case.
 */
export function lockData(dataFolder: string): { release(): void } {
  const db = new DatabaseSync(inDataFolder(dataFolder).lock);
  try {
    db.exec("PRAGMA busy_timeout = 0");
    db.exec("PRAGMA locking_mode = EXCLUSIVE");
    db.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    db.close();
    if (!/locked/.test((error as Error).message)) throw error;
    throw new HostError(
      `MAYFLY_DATA: ${dataFolder} is in use by another mayfly start; stop it or choose another folder`,
    );
  }
  return { release: () => db.close() };
}
