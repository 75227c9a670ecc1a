/** What commands print: text for people, JSON for programs, results on stdout and everything else on stderr. */
import { CommanderError } from "commander";
import { forPerson } from "../invocation.ts";
import { OperatorError } from "../operator-error.ts";
import { toLoggedError } from "../ops/logged-error.ts";

/** For people, without any change: the line may contain data. */
export function printLine(line = ""): void {
  process.stdout.write(`${line}\n`);
}

/** For people, a text of ours, with its calls in a form that can be pasted (see invocation.ts). */
export function printText(text: string): void {
  printLine(forPerson(text));
}

/** For programs, with the neutral names of commands (see invocation.ts). */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** For what should be known and does not stop the command. */
export function printWarning(warning: string, json: boolean): void {
  process.stderr.write(
    `${json ? JSON.stringify({ warning }) : forPerson(`warning: ${warning}`)}\n`,
  );
}

/** Says on stderr what went wrong and what to do. Returns the exit code. */
export function reportError(error: unknown, json: boolean): number {
  const { message, hint, exitCode, details } = describeError(error);
  const lines = json
    ? [JSON.stringify({ error: message, hint, ...(details === null ? {} : { details }) })]
    : [
        forPerson(`error: ${message}`),
        ...(details === null ? [] : [toText(details)]),
        forPerson(`       ${hint}`),
      ];
  process.stderr.write(`${lines.join("\n")}\n`);
  return exitCode;
}

interface Report {
  readonly message: string;
  readonly hint: string;
  readonly exitCode: number;
  readonly details: Readonly<Record<string, unknown>> | null;
}

export function describeError(error: unknown): Report {
  if (error instanceof OperatorError) {
    return { message: error.message, hint: error.hint, exitCode: error.exitCode, details: null };
  }
  if (error instanceof CommanderError) {
    return {
      // Its suggestion is on a line of its own.
      message: error.message.replace(/^error: /, "").replace("\n(", " ("),
      hint: "`account-sync --help` lists the commands, `account-sync help <command>` shows what one takes.",
      exitCode: 2,
      details: null,
    };
  }
  return {
    message: "Something happened that was not foreseen.",
    hint: "Nothing that was captured is lost. If it happens again, report it with the lines above.",
    exitCode: 1,
    // By allow-list: the message of an error that is not ours may quote a row, a body, or a URL with its password.
    details: toLoggedError(error),
  };
}

function toText(details: Readonly<Record<string, unknown>>): string {
  const { name, message, code, stack, ...rest } = details;
  const head = [name, code, message].filter((part) => part !== undefined).join(" ");
  const others = Object.entries(rest).map(([key, value]) => `${key}: ${JSON.stringify(value)}`);
  const frames = Array.isArray(stack) ? stack : [];
  return [head, ...others, ...frames].map((line) => `       ${line}`).join("\n");
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

/** `1 account`, `2 accounts`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** At most so many characters, cut between words where there are any. */
export function toShortened(text: string, most: number): string {
  if (text.length <= most) return text;
  const cut = text.slice(0, most - 1);
  const lastSpace = cut.lastIndexOf(" ");
  return `${(lastSpace > most / 2 ? cut.slice(0, lastSpace) : cut).trimEnd()}…`.toWellFormed();
}

/** `850 ms`, `12 s`, `4 min`, `3 h`, `2 d`: as exact as anybody wants to read it. */
export function toDuration(ms: number): string {
  const units = [
    { unit: "d", ms: 86_400_000 },
    { unit: "h", ms: 3_600_000 },
    { unit: "min", ms: 60_000 },
    { unit: "s", ms: 1_000 },
  ];
  const fitting = units.find((each) => ms >= 2 * each.ms) ?? (ms >= 1_000 ? units.at(-1) : null);
  return fitting === null || fitting === undefined
    ? `${Math.max(0, Math.round(ms))} ms`
    : `${Math.round(ms / fitting.ms)} ${fitting.unit}`;
}
