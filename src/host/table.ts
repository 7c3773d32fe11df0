/** Rows as lines of columns of equal width; those from `numbersFrom` on stand at the right. */
export function toTable(rows: string[][], numbersFrom: number): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length)),
  );
  const lines = rows.map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] as number;
        return column < numbersFrom ? cell.padEnd(width) : cell.padStart(width);
      })
      .join("  ")
      .trimEnd(),
  );
  return lines.join("\n");
}
