import { constants, cpSync, existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { copyFile, mkdir, readdir } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { HostError } from "./host-error.ts";
import { inDataFolder } from "./paths.ts";

// A copy that shares its blocks with the original, where the file system can do that.
const CLONE = constants.COPYFILE_FICLONE;

/** Databases change in place; all other files are written once and under new names. */
const isDatabase = (path: string): boolean => /\.sqlite(-wal)?$/.test(path);
/** Made anew by SQLite from the database and its log. */
const isDerived = (path: string): boolean => path.endsWith(".sqlite-shm");

/**
 * Copies the data folder of a running platform into a folder that must be empty or missing. `hold`
 * keeps state and shards from writing while the databases are copied, so that the copy is of one moment: what a
 * crash at that moment would have left, and that is something every start can work with. What is never
 * changed is copied before that, while they go on.
 */
export async function backUp(
  dataFolder: string,
  to: string,
  hold: <T>(work: () => Promise<T>) => Promise<T>,
): Promise<void> {
  checkEmpty("backup", to);
  mkdirSync(to, { recursive: true, mode: 0o700 });
  const from = inDataFolder(dataFolder);
  const copy = async (wanted: (path: string) => boolean): Promise<void> => {
    for (const kept of ["state", "shards"] as const) {
      await copyNew(from[kept], inDataFolder(to)[kept], wanted);
    }
  };
  await copy((path) => !isDatabase(path));
  await hold(() => copy(() => true));
  await copyFile(from.credentials, inDataFolder(to).credentials);
}

/** Puts a backup where a platform that does not run yet will find its data: an empty or missing folder. */
export function restoreBackup(backup: string, dataFolder: string): void {
  const from = inDataFolder(backup);
  for (const path of [from.credentials, from.state]) {
    if (!existsSync(path)) {
      throw new HostError(`restore: ${backup} is no backup: ${relative(backup, path)} is missing`);
    }
  }
  checkEmpty("MAYFLY_DATA", dataFolder);
  mkdirSync(dataFolder, { recursive: true, mode: 0o700 });
  cpSync(backup, dataFolder, { recursive: true, mode: CLONE, preserveTimestamps: true });
}

function checkEmpty(name: string, folder: string): void {
  if (!existsSync(folder) || readdirSync(folder).length === 0) return;
  throw new HostError(`${name}: got ${folder}, must be an empty folder or one that does not exist`);
}

/** By its size: a file may have been copied while it was written. */
const isCopied = (path: string, target: string): boolean =>
  statSync(target, { throwIfNoEntry: false })?.size ===
  statSync(path, { throwIfNoEntry: false })?.size;

/** Copies the files that `wanted` accepts: databases again, others if they are not there yet. */
async function copyNew(from: string, to: string, wanted: (path: string) => boolean): Promise<void> {
  for (const entry of await readdir(from, { recursive: true, withFileTypes: true })) {
    const path = resolve(entry.parentPath, entry.name);
    const target = join(to, relative(from, path));
    if (!entry.isFile() || isDerived(path) || !wanted(path)) continue;
    if (!isDatabase(path) && isCopied(path, target)) continue;
    await mkdir(dirname(target), { recursive: true, mode: 0o700 });
    try {
      await copyFile(path, target, CLONE);
    } catch (error) {
      // Removed since it was listed.
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
}
