/** The program around the commands: its help, its version, how its errors leave, and the options that npm must not have consumed. */
import { Command } from "commander";
import type { Environment } from "../environment.ts";
import { callForPerson } from "../invocation.ts";
import { version } from "../version.ts";
import { findConsumedOption, toConsumedError } from "./consumed-options.ts";

export function createProgram(argv: readonly string[], environment: Environment): Command {
  const program = new Command("account-sync")
    .description(
      "Brings every change of a customer account in PostgreSQL to the customer API and writes the ids it gives out back.",
    )
    .version(version)
    // Errors are thrown to main.ts, which prints all of them in one way.
    .exitOverride()
    .configureOutput({
      writeOut: (text) => process.stdout.write(text),
      outputError: () => {},
    })
    .configureHelp({
      commandUsage: (described) =>
        callForPerson(
          described.parent === null
            ? `account-sync ${described.usage()}`
            : `account-sync ${described.name()} ${described.usage()}`,
        ),
    })
    .helpCommand("help [command]", "show what a command takes")
    .addHelpText(
      "after",
      `
Settings come from environment variables, every secret also from a file (NAME_FILE):
docs/reference/settings.md lists them.
Without DATABASE_URL, start runs everything on an embedded PostgreSQL below .data/ in this folder, and the
other commands use it while it runs.`,
    );

  program.hook("preAction", (_program, called) => {
    const options = called.options.flatMap(({ long }) => long ?? []);
    // A --json that npm consumed is read from the environment.
    const others = options.filter((option) => option !== "--json");
    const option = findConsumedOption(others, argv, environment);
    if (option !== null) throw toConsumedError(option, called.name());
  });

  return program;
}

/** A command with its `--json` and its example, without what it does. */
export function addCommand(
  program: Command,
  nameAndArguments: string,
  description: string,
  example: string,
): Command {
  return program
    .command(nameAndArguments)
    .description(description)
    .option("--json", "print JSON, errors too")
    .addHelpText("after", `\nExample:\n  ${callForPerson(example)}`);
}
