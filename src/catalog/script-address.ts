/** Whether a script is to be found at the addresses that the platform gives; see `Address`. */
export interface ScriptAddress {
  scriptId: string;
  scriptName: string;
  /** At `<script>.<subdomain>`. */
  workersDev: boolean;
  /** Each of its versions at `<preview>-<script>.<subdomain>`. */
  previews: boolean;
}

/** The script's address, or undefined if the account has no such script. */
export async function findScriptAddress(
  db: D1Database,
  accountId: string,
  scriptName: string,
): Promise<ScriptAddress | undefined> {
  const row = await db
    .prepare(
      "SELECT id, name, workers_dev, previews FROM scripts WHERE account_id = ? AND name = ?",
    )
    .bind(accountId, scriptName)
    .first<{ id: string; name: string; workers_dev: number; previews: number }>();
  return row
    ? {
        scriptId: row.id,
        scriptName: row.name,
        workersDev: row.workers_dev === 1,
        previews: row.previews === 1,
      }
    : undefined;
}

/** Switches the addresses on or off. */
export async function setScriptAddress(
  db: D1Database,
  { scriptId, workersDev, previews }: ScriptAddress,
): Promise<void> {
  await db
    .prepare("UPDATE scripts SET workers_dev = ?, previews = ? WHERE id = ?")
    .bind(Number(workersDev), Number(previews), scriptId)
    .run();
}
