/**
 * Options that npm took for itself: `npm start reconcile --dry-run`, without `--`, reaches us as `reconcile`, and would mark accounts
 * where only a list was asked for. npm leaves a trace of each in the environment.
 */
import { OperatorError } from "../operator-error.ts";

/** Our scripts in package.json. */
const SCRIPTS: readonly (string | undefined)[] = ["start", "sql"];

/** The first of `options`, such as `--dry-run`, that npm has and that is not among `args`; null when there is none. */
export function findSwallowedOption(
  options: readonly string[],
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): string | null {
  if (!SCRIPTS.includes(environment["npm_lifecycle_event"])) return null;
  const isThere = (option: string) =>
    args.some((arg) => arg === option || arg.startsWith(`${option}=`));
  const hasNpm = (option: string) => {
    const value = environment[`npm_config_${option.slice(2).replaceAll("-", "_")}`];
    return value !== undefined && value !== "" && value !== "false";
  };
  return options.find((option) => !isThere(option) && hasNpm(option)) ?? null;
}

/** What is asked for is not known, so nothing is done. */
export function swallowed(option: string, command: string): OperatorError {
  return new OperatorError(`npm took ${option} for itself, so that account-sync has not seen it.`, {
    hint: `Put -- before it: \`account-sync ${command} ${option}\``,
    exitCode: 2,
  });
}
