/** What the API answers. */
export interface StorageResult {
  measured_at: string;
  month: string;
  kinds: Record<string, { bytes: number; gb_months: number }>;
  not_measured: string[];
}

/** What is held, in one line. */
export function storageToText({ measured_at, kinds, not_measured }: StorageResult): string {
  const at = measured_at.slice(0, "2026-11-01T12:30".length).replace("T", " ");
  const known = Object.entries(kinds).filter(([kind]) => !not_measured.includes(kind));
  const parts = known.map(([kind, { bytes }]) => `${kind} ${bytes.toLocaleString("en-US")}`);
  return `Bytes held at ${at}: ${parts.join(", ")}`;
}
