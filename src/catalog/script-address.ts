/**
 * Switches the addresses that the platform gives a script on or off: `<script>.<subdomain>`, and
 * `<preview>-<script>.<subdomain>` for each of its versions.
 */
export async function setScriptAddress(
  db: D1Database,
  scriptId: string,
  workersDev: boolean,
  previews: boolean,
): Promise<void> {
  await db
    .prepare("UPDATE scripts SET workers_dev = ?, previews = ?, modified_at = ? WHERE id = ?")
    .bind(Number(workersDev), Number(previews), new Date().toISOString(), scriptId)
    .run();
}
