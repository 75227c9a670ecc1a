/**
 * The command line: which commands there are, what they take, and how they are explained. What they do is in the file of their name,
 * loaded when it is needed, so that `--help` is quick and nothing meant for trying things out is loaded in production.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { type Config, readConfig, unknownSettings } from "../config.ts";
import type { Environment } from "../environment.ts";
import { callForPerson } from "../invocation.ts";
import { ERROR_CLASSES, type ErrorClass } from "../sync/outcome.ts";
import { describeUnknownSetting } from "../unknown-settings.ts";
import { version } from "../version.ts";
import { findConsumedOption, toConsumedError } from "./consumed-options.ts";
import { printWarning } from "./output.ts";

export interface Surroundings {
  readonly environment: Environment;
  /** Ends the process at once, finished or not. */
  readonly leave: (exitCode: number) => void;
}

/**
 * Whether results and errors are for a program. Read before the rest, as parsing the rest may fail. An option --json that npm consumed
 * (see consumed-options.ts) counts, too.
 */
export function isForJson(argv: readonly string[], environment: Environment): boolean {
  return (
    optionsOf(argv).includes("--json") || findConsumedOption(["--json"], argv, environment) !== null
  );
}

/** Resolves with the exit code of the command. Rejects with what went wrong. */
export async function runCommandLine(
  argv: readonly string[],
  surroundings: Surroundings,
): Promise<number> {
  let exitCode = 0;
  const program = createProgram(argv, surroundings, (code) => {
    exitCode = code;
  });

  try {
    await program.parseAsync(withDefaultCommand(argv.slice(2)), { from: "user" });
  } catch (error) {
    const isHelp = error instanceof CommanderError && error.exitCode === 0;
    if (!isHelp) throw error;
  }
  return exitCode;
}

/** As the command line knows them. */
export function commandNames(): string[] {
  const program = createProgram([], { environment: {}, leave: () => {} }, () => {});
  return program.commands.map((command) => command.name());
}

/**
 * Without a command it is `start`: also `account-sync --json`, but not `account-sync --help`. Every command takes --json, wherever it
 * stands, so it is dealt with before (`isForJson`), and commander knows it for the help only.
 */
function withDefaultCommand(given: readonly string[]): string[] {
  const options = optionsOf(given);
  const isAboutUs = options.some((arg) => ["-h", "--help", "-V", "--version"].includes(arg));
  const args = [
    ...options.filter((arg) => arg !== "--json"),
    // An id may have the form of an option.
    ...given.slice(options.length),
  ];
  const hasCommand = args.some((arg) => !arg.startsWith("-"));
  return hasCommand || isAboutUs ? args : ["start", ...args];
}

/** What stands before `--`: everything after it is taken as it is. */
function optionsOf(args: readonly string[]): readonly string[] {
  const separator = args.indexOf("--");
  return separator === -1 ? args : args.slice(0, separator);
}

function createProgram(
  argv: readonly string[],
  { environment, leave }: Surroundings,
  end: (exitCode: number) => void,
): Command {
  const json = isForJson(argv, environment);
  /** Wraps what a command does: its exit code becomes the process's. */
  const run =
    <Arguments extends unknown[]>(work: (...args: Arguments) => Promise<number>) =>
    async (...args: Arguments) =>
      end(await work(...args));
  const config = (): Config => {
    for (const unknown of unknownSettings(environment)) {
      printWarning(describeUnknownSetting(unknown), json);
    }
    return readConfig(environment);
  };

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

  const command = (nameAndArguments: string, description: string, example: string) => {
    const added = program
      .command(nameAndArguments)
      .description(description)
      .option("--json", "print JSON, errors too")
      .addHelpText("after", `\nExample:\n  ${callForPerson(example)}`);
    return added;
  };

  command(
    "start",
    "run the daemon until SIGTERM or Ctrl-C; migrates first (default)",
    "account-sync start",
  ).action(
    run(async () => {
      const { start } = await import("./start.ts");
      return await start(config(), { json, leave });
    }),
  );

  command(
    "migrate",
    "install or upgrade schema account_sync and the capture triggers; safe to repeat",
    "account-sync migrate",
  ).action(
    run(async () => {
      const { migrateDatabase } = await import("./migrate.ts");
      return await migrateDatabase(config(), { json });
    }),
  );

  command(
    "uninstall",
    "remove the triggers and schema account_sync; the source tables stay as they are",
    "account-sync uninstall --yes",
  )
    .option("--yes", "do not ask")
    .action(
      run(async (options: { yes?: boolean }) => {
        const { uninstallFromDatabase } = await import("./uninstall.ts");
        return await uninstallFromDatabase(config(), { json, isSure: options.yes === true });
      }),
    );

  command(
    "sync <id...>",
    "sync these accounts now, wait, print one JSON result per line",
    "account-sync sync 11111111-1111-4111-8111-111111111111 --user budi",
  )
    .option("--user <id>", "who asks: goes into updated_by", withinCharacters(50))
    .option("--config <id>", "row of m_backend_ext_config to send to", withinCharacters(100))
    .option(
      "--no-force",
      "as if the account had changed: unchanged is not sent, an outage's backoff holds",
    )
    .option("--timeout <seconds>", "how long to wait", wholeNumber(1, 86_400), 150)
    .action(
      run(
        async (
          ids: string[],
          options: { user?: string; config?: string; force: boolean; timeout: number },
        ) => {
          const { sync } = await import("./sync.ts");
          return await sync(config(), ids.map(accountId), {
            userId: options.user ?? null,
            configId: options.config ?? null,
            force: options.force,
            timeoutMs: options.timeout * 1_000,
            json,
            leave,
          });
        },
      ),
    );

  command(
    "preview <id>",
    "show the command that would be sent, and what validation says; sends and writes nothing",
    "account-sync preview 11111111-1111-4111-8111-111111111111",
  ).action(
    run(async (id: string) => {
      const { preview } = await import("./preview.ts");
      return await preview(config(), accountId(id), { json });
    }),
  );

  command(
    "backfill",
    "mark every account for a sync in the slow lane, for a running daemon",
    "account-sync backfill --missing --wait",
  )
    .option("--missing", "only accounts that lack an external id, or have a tier or PIC that does")
    .option("--wait", "show the progress until all are through")
    .action(
      run(async (options: { missing?: boolean; wait?: boolean }) => {
        const { backfill } = await import("./backfill.ts");
        return await backfill(config(), {
          json,
          which: options.missing === true ? "missing" : "all",
          waits: options.wait === true,
        });
      }),
    );

  command(
    "reconcile",
    "mark accounts that hold other data than were accepted last, or lack ids, in the slow lane",
    "account-sync reconcile --dry-run",
  )
    .option("--dry-run", "only list them, with the reason")
    .action(
      run(async (options: { dryRun?: boolean }) => {
        const { reconcile } = await import("./reconcile.ts");
        return await reconcile(config(), { json, dryRun: options.dryRun === true });
      }),
    );

  command(
    "status [id]",
    "the queue at a glance, or one account: its state, why, its next attempt, its history",
    "account-sync status 11111111-1111-4111-8111-111111111111",
  ).action(
    run(async (id: string | undefined) => {
      const { status } = await import("./status.ts");
      return await status(config(), id === undefined ? null : accountId(id), { json });
    }),
  );

  command(
    "retry [id...]",
    "put parked accounts back into the queue",
    "account-sync retry --class validation",
  )
    .option("--all", "all of them")
    .addOption(
      new Option("--class <error class>", "those that were parked for this reason").choices(
        ERROR_CLASSES,
      ),
    )
    .action(
      run(async (ids: string[], options: { all?: boolean; class?: ErrorClass }) => {
        const { retry } = await import("./retry.ts");
        return await retry(config(), {
          json,
          ids: ids.map(accountId),
          all: options.all === true,
          errorClass: options.class ?? null,
        });
      }),
    );

  command(
    "doctor",
    "check database, rights, triggers, LISTEN and API, and say what to do",
    "account-sync doctor",
  ).action(
    run(async () => {
      const { doctor } = await import("./doctor.ts");
      // The configuration is one of the things it checks.
      return await doctor(config, { json });
    }),
  );

  command(
    "check-config",
    "read the environment as start does, and say what is wrong with it; connects to nothing",
    "account-sync check-config",
  ).action(
    run(async () => {
      const { checkConfig } = await import("./check-config.ts");
      return checkConfig(environment, { json });
    }),
  );

  command(
    "sandbox",
    "run a stand-in customer API for trying things out; development only",
    "account-sync sandbox --port 8080 --data sandbox.json",
  )
    .option("--host <address>", "where to listen", "127.0.0.1")
    .option("--port <number>", "0 picks a free one", wholeNumber(0, 65_535), 8080)
    .option("--data <file>", "keep the customers in this file")
    .option("--client-id <id>", "OAuth2 client", "sandbox")
    .option("--client-secret <secret>", "and its secret", "sandbox-secret")
    .option("--echo", "answer each item as it was sent, not its id alone")
    .option("--ignore-keys", "do as an API that does not know Idempotency-Key")
    .action(
      run(async (options: SandboxCommandOptions) => {
        const { sandbox } = await import("./sandbox.ts");
        return await sandbox({ ...options, json, leave });
      }),
    );

  command(
    "sql",
    "a small SQL prompt, for machines without psql; reads statements from a pipe, too",
    `echo "select * from account_sync.status" | ${callForPerson("account-sync sql", { quietly: true })}`,
  ).action(
    run(async () => {
      const { sql } = await import("./sql.ts");
      return await sql(config(), { leave });
    }),
  );

  return program;
}

export interface SandboxCommandOptions {
  readonly host: string;
  readonly port: number;
  readonly data?: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly echo?: boolean;
  readonly ignoreKeys?: boolean;
}

/** Any text may be a key somewhere; what the key's type cannot hold is simply an account that does not exist. */
function accountId(text: string): string {
  if (text.trim() === "" || text.length > 255) {
    throw new InvalidArgumentError("an account id has 1 to 255 characters");
  }
  return text.trim();
}

function wholeNumber(minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= minimum && value <= maximum) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${minimum} to ${maximum}.`);
  };
}

function withinCharacters(maximum: number): (text: string) => string {
  return (text) => {
    if (text.trim() !== "" && text.length <= maximum) return text;
    throw new InvalidArgumentError(`It must have 1 to ${maximum} characters.`);
  };
}
