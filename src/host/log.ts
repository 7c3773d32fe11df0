/** Writes one line of the host's log, as JSON, to the standard error stream. */
export function log(
  level: "info" | "warn" | "error",
  event: string,
  details: Record<string, unknown> = {},
): void {
  const line = { time: new Date().toISOString(), level, event, ...details };
  process.stderr.write(`${JSON.stringify(line)}\n`);
}
