/** One line of the result. */
export interface Row {
  name: string;
  value: number;
  /** Compared with what the heading or `of` says. */
  ratio?: number;
  /** What the ratio is taken of. */
  of?: string;
  /** What the ratio should be. */
  aim?: { atLeast: number } | { atMost: number };
}

/** A group of lines that share a unit. */
export interface Section {
  title: string;
  unit: "req/s" | "msg/s" | "ms";
  rows: Row[];
}

/** The sections as Markdown tables, to be read in a terminal and put into the documentation. */
export function report(sections: Section[]): string {
  return sections.map(({ title, unit, rows }) => table(title, unit, rows)).join("\n");
}

function table(title: string, unit: Section["unit"], rows: Row[]): string {
  const cells = [
    [title, unit, "ratio", "aim"],
    ...rows.map(({ name, value, ratio, of, aim }) => [
      name,
      unit === "ms" ? value.toFixed(2) : Math.round(value).toLocaleString("en-US"),
      ratio === undefined ? "" : `${ratio.toFixed(2)} of ${of}`,
      aim && ratio !== undefined ? judge(ratio, aim) : "",
    ]),
  ];
  const widths = [0, 1, 2, 3].map((column) =>
    Math.max(3, ...cells.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: string[]): string =>
    `| ${row.map((cell, i) => (i === 1 ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0))).join(" | ")} |`;
  const rule = `|${widths.map((width, i) => `${"-".repeat(width + 1)}${i === 1 ? ":" : "-"}`).join("|")}|`;
  const [head = [], ...body] = cells;
  return [line(head), rule, ...body.map(line), ""].join("\n");
}

function judge(ratio: number, aim: NonNullable<Row["aim"]>): string {
  const [met, text] =
    "atLeast" in aim
      ? [ratio >= aim.atLeast, `at least ${aim.atLeast}`]
      : [ratio <= aim.atMost, `at most ${aim.atMost}`];
  return `${text}: ${met ? "met" : "missed"}`;
}
