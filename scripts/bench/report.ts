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

/** Several values of each of several things. */
export interface Grid {
  title: string;
  columns: string[];
  rows: { name: string; values: (number | undefined)[] }[];
  /** What there is to say below. */
  notes: string[];
}

/** The sections as Markdown tables, to be read in a terminal and put into the documentation. */
export function report(sections: (Section | Grid)[]): string {
  return sections.map((each) => ("unit" in each ? ofSection(each) : ofGrid(each))).join("\n");
}

function ofSection({ title, unit, rows }: Section): string {
  const cells = [
    [title, unit, "ratio", "aim"],
    ...rows.map(({ name, value, ratio, of, aim }) => [
      name,
      unit === "ms" ? value.toFixed(2) : rounded(value),
      ratio === undefined ? "" : `${ratio.toFixed(2)} of ${of}`,
      aim && ratio !== undefined ? judge(ratio, aim) : "",
    ]),
  ];
  return table(cells, (column) => column === 1);
}

function ofGrid({ title, columns, rows, notes }: Grid): string {
  const cells = [
    [title, ...columns],
    ...rows.map(({ name, values }) => [name, ...values.map(significant)]),
  ];
  return table(cells, (column) => column > 0) + notes.map((note) => `${note}\n`).join("");
}

function table(all: string[][], isNumber: (column: number) => boolean): string {
  // A column without any value says nothing. Only the last ones may be such, so the others stay in place.
  const isUsed = (column: number): boolean => all.slice(1).some((row) => row[column]);
  const cells = all.map((row) => row.filter((_, column) => isUsed(column)));
  const [head = [], ...body] = cells;
  const widths = head.map((_, column) =>
    Math.max(3, ...cells.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: string[]): string =>
    `| ${row.map((cell, i) => (isNumber(i) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0))).join(" | ")} |`;
  const rule = widths.map((width, i) => `${"-".repeat(width - 1)}${isNumber(i) ? ":" : "-"}`);
  return [line(head), line(rule), ...body.map(line), ""].join("\n");
}

const rounded = (value: number): string => Math.round(value).toLocaleString("en-US");

/** Two decimals for what is small, none for what is large. Nothing for what could not be measured. */
function significant(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return "";
  if (value >= 100) return rounded(value);
  return value.toFixed(value >= 10 ? 1 : 2);
}

function judge(ratio: number, aim: NonNullable<Row["aim"]>): string {
  const [met, text] =
    "atLeast" in aim
      ? [ratio >= aim.atLeast, `at least ${aim.atLeast}`]
      : [ratio <= aim.atMost, `at most ${aim.atMost}`];
  return `${text}: ${met ? "met" : "missed"}`;
}
