/** The arguments as they were given, before commander sees them: --json, and the command that is meant without one. */
import type { Environment } from "../environment.ts";
import { findConsumedOption } from "./consumed-options.ts";

/**
 * Whether results and errors are for a program. Read before everything else, as parsing may fail. Includes a --json that npm consumed
 * (see consumed-options.ts).
 */
export function isForJson(argv: readonly string[], environment: Environment): boolean {
  return (
    optionsOf(argv).includes("--json") || findConsumedOption(["--json"], argv, environment) !== null
  );
}

/**
 * The arguments for commander. Without a command they mean `start`: also `account-sync --json`, but not `account-sync --help`. Every
 * command takes --json in any place, so it is read before (`isForJson`) and left out here; commander knows it for the help only.
 */
export function toCommanderArguments(given: readonly string[]): string[] {
  const options = optionsOf(given);
  const isAboutProgram = options.some((arg) => ["-h", "--help", "-V", "--version"].includes(arg));
  const args = [
    ...options.filter((arg) => arg !== "--json"),
    // An id may look like an option.
    ...given.slice(options.length),
  ];
  const hasCommand = args.some((arg) => !arg.startsWith("-"));
  return hasCommand || isAboutProgram ? args : ["start", ...args];
}

/** The arguments before `--`; those after it are taken literally. */
function optionsOf(args: readonly string[]): readonly string[] {
  const separator = args.indexOf("--");
  return separator === -1 ? args : args.slice(0, separator);
}
