/** `check-config`: reads the environment as `start` does, and lists what is wrong. Connects to nothing. */
import { isSecret, knownNames, readConfig, readSettings, unknownSettings } from "../config.ts";
import { readConnectionUrl } from "../db/connection-url.ts";
import { type Environment, isUnset } from "../environment.ts";
import { findShortShutdown } from "../shutdown-timeout.ts";
import { describeUnknownSetting } from "../unknown-settings.ts";
import { printJson, printLine, printText, printWarning, toTable } from "./output.ts";
import { counted } from "./wording.ts";

export function checkConfig(
  environment: Environment,
  { json }: { readonly json: boolean },
): number {
  const { values, problems } = readSettings(environment);
  const unknown = unknownSettings(environment);
  const isValid = problems.length === 0 && unknown.length === 0;
  const settings = values === null ? [] : toEffectiveSettings(environment, values);
  const warnings = values === null ? [] : findWarnings(environment);

  if (json) {
    printJson({
      valid: isValid,
      problems,
      unknown: unknown.map(({ name, nearest }) => ({ name, nearest })),
      warnings,
      settings,
    });
  } else if (isValid) {
    printEffectiveSettings(settings);
    for (const warning of warnings) printWarning(warning, json);
  } else {
    const found = [...problems, ...unknown.map(describeUnknownSetting)];
    printLine(`The configuration has ${counted(found.length, "problem")}:`);
    for (const problem of found) printLine(`  ${problem}`);
    printLine("docs/reference/settings.md lists every setting.");
  }
  return isValid ? 0 : 2;
}

/** What is allowed, and seldom meant. Without a database of one's own, accounts go to the sandbox, which parks nothing. */
function findWarnings(environment: Environment): string[] {
  const config = readConfig(environment);
  const shortShutdown = config.database.url === null ? null : findShortShutdown(config);
  return shortShutdown === null ? [] : [shortShutdown];
}

interface EffectiveSetting {
  readonly name: string;
  /** null: not set, and without a default. */
  readonly value: unknown;
  readonly from: "environment" | "file" | "default";
}

function toEffectiveSettings(
  environment: Environment,
  values: Readonly<Record<string, unknown>>,
): EffectiveSetting[] {
  return knownNames()
    .filter((name) => name in values || !name.endsWith("_FILE"))
    .map((name) => {
      const from = !isUnset(environment[name])
        ? "environment"
        : !isUnset(environment[`${name}_FILE`])
          ? "file"
          : "default";
      const value = values[name] ?? null;
      return { name, value: from === "default" ? value : toShown(name, value), from };
    });
}

const HIDDEN = "(hidden)";

function toShown(name: string, value: unknown): unknown {
  if (typeof value !== "string") return isSecret(name) ? HIDDEN : value;
  // Host, port and database, without user, password and parameters.
  if (name.endsWith("DATABASE_URL")) return readConnectionUrl(value).connection.place;
  if (isSecret(name)) return HIDDEN;
  // The query may hold a key.
  if (name.endsWith("_PATH")) return value.replace(/\?.*$/, "?…");
  if (!name.endsWith("_URL")) return value;
  const url = URL.parse(value);
  return url === null ? HIDDEN : `${url.protocol}//${url.host}${url.pathname}`;
}

function printEffectiveSettings(settings: readonly EffectiveSetting[]): void {
  const given = settings.filter(({ from }) => from !== "default");
  printText(
    "The configuration is valid. Run `account-sync doctor` to see whether the database and the API answer.",
  );
  if (given.length > 0) {
    printLine();
    const rows = given.map(({ name, value, from }) => [name, toText(value), from]);
    for (const line of toTable([["setting", "value", "from"], ...rows])) printLine(line);
  }
  printLine();
  printLine(
    given.length === 0
      ? "Every setting has its default; --json lists them."
      : "Every other setting has its default; --json lists them all.",
  );
}

function toText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
