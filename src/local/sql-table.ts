/** Rows as a table of text, each row on one line, every value whole. Pure. */
import type { SqlRows } from "./sql-session.ts";

/** A column is aligned up to this width. A longer value is printed whole, and moves the rest of its row alone. */
const ALIGNED_WIDTH = 200;

/** Line by line: together they may be longer than a string can be. `show` makes each cell fit for the output. */
export function* toTable(
  {
    fields,
    rows,
  }: Pick<SqlRows, "rows"> & {
    readonly fields: readonly Pick<SqlRows["fields"][number], "name">[];
  },
  show: (text: string) => string,
): Generator<string> {
  const header = fields.map((field) => show(toCell(field.name)));
  const body = rows.map((row) => row.map((value) => show(toCell(value))));
  const widths = header.map((name, column) =>
    Math.min(
      ALIGNED_WIDTH,
      body.reduce((width, row) => Math.max(width, row[column]?.length ?? 0), name.length),
    ),
  );

  // The last cell is not padded: that would be white space at the end of the line.
  const toLine = (cells: readonly string[]) =>
    cells
      .map((cell, column) =>
        column === cells.length - 1 ? cell : cell.padEnd(widths[column] ?? 0),
      )
      .join(" | ");
  yield toLine(header);
  yield widths.map((width) => "-".repeat(width)).join("-+-");
  for (const row of body) yield toLine(row);
  yield `(${rows.length} ${rows.length === 1 ? "row" : "rows"})`;
}

function toCell(value: string | null): string {
  return value === null ? "null" : value.replaceAll("\r", "\\r").replaceAll("\n", "\\n");
}

/** C0 without tab and line feed, DEL, C1, line separators, and marks that change the direction of what follows. */
const CONTROLS =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Makes visible what a terminal would obey, as psql does: `\x1b`. */
export function escapeControls(text: string): string {
  return text.replaceAll(CONTROLS, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x80
      ? `\\x${code.toString(16).padStart(2, "0")}`
      : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}
