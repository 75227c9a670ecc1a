/** What commands print: text for people, JSON for programs, results on stdout and everything else on stderr. */
import { forPerson } from "../invocation.ts";

/** For people, unchanged: the line may contain data. */
export function printLine(line = ""): void {
  process.stdout.write(`${line}\n`);
}

/** For people, a text of the program, with its calls in a form that can be pasted (see invocation.ts). */
export function printText(text: string): void {
  printLine(forPerson(text));
}

/** For programs, with the neutral names of commands (see invocation.ts). */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** On stderr; the command goes on. */
export function printWarning(warning: string, json: boolean): void {
  process.stderr.write(
    `${json ? JSON.stringify({ warning }) : forPerson(`warning: ${warning}`)}\n`,
  );
}

/** Left-aligned columns, two spaces between them. */
export function toTable(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
