/** Which versions of a script get traffic. The newest of a script is the one in force. */
export interface Deployment {
  /** UUID. */
  id: string;
  scriptId: string;
  createdAt: string;
  /** As a version's. */
  source: string;
  author: string;
  annotations: Record<string, string>;
  versions: DeployedVersion[];
}

/** In the API's shape, as it is kept. */
export interface DeployedVersion {
  version_id: string;
  /** Over 0, at most 100; those of a deployment add up to 100. */
  percentage: number;
}

interface Row {
  id: string;
  script_id: string;
  created_at: string;
  source: string;
  author: string;
  annotations: string;
  versions: string;
}

const fromRow = (row: Row): Deployment => ({
  id: row.id,
  scriptId: row.script_id,
  createdAt: row.created_at,
  source: row.source,
  author: row.author,
  annotations: JSON.parse(row.annotations) as Record<string, string>,
  versions: JSON.parse(row.versions) as DeployedVersion[],
});

/** The script's deployments, newest first. */
export async function listDeployments(
  db: D1Database,
  scriptId: string,
  limit: number,
): Promise<Deployment[]> {
  const { results } = await db
    .prepare(
      "SELECT id, script_id, created_at, source, author, annotations, versions FROM deployments WHERE script_id = ? ORDER BY number DESC LIMIT ?",
    )
    .bind(scriptId, limit)
    .all<Row>();
  return results.map(fromRow);
}

/** The deployment in force, or undefined if nothing is deployed. */
export async function currentDeployment(
  db: D1Database,
  scriptId: string,
): Promise<Deployment | undefined> {
  const [deployment] = await listDeployments(db, scriptId, 1);
  return deployment;
}

/**
 * Inserts the deployment as the script's newest if its first version exists, else changes nothing.
 */
export function insertDeployment(
  db: D1Database,
  deployment: Omit<Deployment, "scriptId">,
): D1PreparedStatement {
  return db
    .prepare(
      `INSERT INTO deployments (id, script_id, number, created_at, source, author, annotations, versions)
      SELECT ?, script_id,
        (SELECT coalesce(max(number), 0) + 1 FROM deployments d WHERE d.script_id = v.script_id),
        ?, ?, ?, ?, ? FROM versions v WHERE id = ?`,
    )
    .bind(
      deployment.id,
      deployment.createdAt,
      deployment.source,
      deployment.author,
      JSON.stringify(deployment.annotations),
      JSON.stringify(deployment.versions),
      deployment.versions[0]?.version_id ?? null,
    );
}
