/**
 * Options that npm consumed: of `npm start reconcile --dry-run`, without `--`, account-sync receives only `reconcile`, and would mark
 * accounts where a list was wanted. npm puts each such option into the environment.
 */
import type { Environment } from "../environment.ts";
import { OperatorError } from "../operator-error.ts";

/** The scripts in package.json that run the command line. */
const SCRIPTS: readonly (string | undefined)[] = ["start", "sql"];

/** The first of `options`, such as `--dry-run`, that npm consumed; null when there is none. */
export function findConsumedOption(
  options: readonly string[],
  args: readonly string[],
  environment: Environment,
): string | null {
  if (!SCRIPTS.includes(environment["npm_lifecycle_event"])) return null;
  const isReceived = (option: string) =>
    args.some((arg) => arg === option || arg.startsWith(`${option}=`));
  const isConsumedByNpm = (option: string) => {
    const value = environment[`npm_config_${option.slice(2).replaceAll("-", "_")}`];
    return value !== undefined && value !== "" && value !== "false";
  };
  return options.find((option) => !isReceived(option) && isConsumedByNpm(option)) ?? null;
}

/** Without one of its options a command may do what was not wanted, so it is refused. */
export function toConsumedError(option: string, command: string): OperatorError {
  return new OperatorError(`npm consumed ${option}, so account-sync did not receive it.`, {
    hint: `Put -- before it: \`account-sync ${command} ${option}\``,
    exitCode: 2,
  });
}
