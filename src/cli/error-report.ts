/** How an error that ended a command is reported: what went wrong, what to do, and the exit code. */
import { CommanderError } from "commander";
import { forPerson } from "../invocation.ts";
import { OperatorError } from "../operator-error.ts";
import { toLoggedError } from "../ops/logged-error.ts";

/** Prints to stderr what went wrong and what to do. Returns the exit code. */
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

export interface ErrorReport {
  readonly message: string;
  readonly hint: string;
  readonly exitCode: number;
  readonly details: Readonly<Record<string, unknown>> | null;
}

export function describeError(error: unknown): ErrorReport {
  if (error instanceof OperatorError) {
    return { message: error.message, hint: error.hint, exitCode: error.exitCode, details: null };
  }
  if (error instanceof CommanderError) {
    return {
      // Commander puts its suggestion on a line of its own.
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
    // Only fields of an allow-list: the message of a foreign error may quote a row, a body, or a URL with its password.
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
