/**
 * The command line: which commands there are, what they take, and how they are explained. What they do is in the file of their name,
 * loaded when it is needed, so that `--help` is quick and nothing meant for trying things out is loaded in production.
 */
import { type Command, CommanderError, Option } from "commander";
import { type Config, readConfig, unknownSettings } from "../config.ts";
import type { Environment } from "../environment.ts";
import { callForPerson } from "../invocation.ts";
import { ERROR_CLASSES, type ErrorClass } from "../sync/outcome.ts";
import { describeUnknownSetting } from "../unknown-settings.ts";
import {
  accountId,
  externalId as anExternalId,
  rowId,
  wholeNumber,
  withinCharacters,
} from "./argument-values.ts";
import { isForJson, toCommanderArguments } from "./given-arguments.ts";
import { printWarning } from "./output.ts";
import { addCommand, createProgram } from "./program.ts";
import type { SandboxArguments } from "./sandbox.ts";

export interface Surroundings {
  readonly environment: Environment;
  /** Ends the process at once, finished or not. */
  readonly leave: (exitCode: number) => void;
}

/** Resolves with the exit code of the command. Rejects with what went wrong. */
export async function runCommandLine(
  argv: readonly string[],
  surroundings: Surroundings,
): Promise<number> {
  let exitCode = 0;
  const program = createCommandLine(argv, surroundings, (code) => {
    exitCode = code;
  });

  try {
    await program.parseAsync(toCommanderArguments(argv.slice(2)), { from: "user" });
  } catch (error) {
    const isHelp = error instanceof CommanderError && error.exitCode === 0;
    if (!isHelp) throw error;
  }
  return exitCode;
}

/** As the command line knows them. */
export function commandNames(): string[] {
  const program = createCommandLine([], { environment: {}, leave: () => {} }, () => {});
  return program.commands.map((command) => command.name());
}

function createCommandLine(
  argv: readonly string[],
  { environment, leave }: Surroundings,
  end: (exitCode: number) => void,
): Command {
  const json = isForJson(argv, environment);
  const config = (): Config => {
    for (const unknown of unknownSettings(environment)) {
      printWarning(describeUnknownSetting(unknown), json);
    }
    return readConfig(environment);
  };
  /** Wraps what a command does: its exit code becomes the process's. */
  const run =
    <Arguments extends unknown[]>(work: (...args: Arguments) => Promise<number>) =>
    async (...args: Arguments) =>
      end(await work(...args));

  const program = createProgram(argv, environment);
  const command = (nameAndArguments: string, description: string, example: string) =>
    addCommand(program, nameAndArguments, description, example);

  command(
    "start",
    "run the daemon until SIGTERM or Ctrl-C; migrates first (default)",
    "account-sync start",
  ).action(run(async () => (await import("./start.ts")).start(config(), { json, leave })));

  command(
    "migrate",
    "install or upgrade schema account_sync and the capture triggers; safe to repeat",
    "account-sync migrate",
  ).action(run(async () => (await import("./migrate.ts")).migrateDatabase(config(), { json })));

  command(
    "uninstall",
    "remove the triggers and schema account_sync; the source tables stay as they are",
    "account-sync uninstall --yes",
  )
    .option("--yes", "do not ask")
    .action(
      run(async ({ yes = false }: { yes?: boolean }) => {
        const { uninstallFromDatabase } = await import("./uninstall.ts");
        return await uninstallFromDatabase(config(), { json, isSure: yes });
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
    .option("--replace", "replace an id that stands by the one that the API answers")
    .option("--timeout <seconds>", "how long to wait", wholeNumber(1, 86_400), 150)
    .action(
      run(async (ids: string[], options: SyncCommandOptions) => {
        const { sync } = await import("./sync.ts");
        return await sync(config(), ids.map(accountId), {
          userId: options.user ?? null,
          configId: options.config ?? null,
          force: options.force,
          replace: options.replace === true,
          timeoutMs: options.timeout * 1_000,
          json,
          leave,
        });
      }),
    );

  command(
    "preview <id>",
    "show the command that would be sent, and what validation says; sends and writes nothing",
    "account-sync preview 11111111-1111-4111-8111-111111111111",
  ).action(
    run(async (id: string) =>
      (await import("./preview.ts")).preview(config(), accountId(id), { json }),
    ),
  );

  command(
    "backfill",
    "mark every account for a sync in the slow lane, for a running daemon",
    "account-sync backfill --missing --wait",
  )
    .option("--missing", "only accounts that lack an external id, or have a tier or PIC that does")
    .option("--wait", "show the progress until all are through")
    .action(
      run(async ({ missing = false, wait = false }: { missing?: boolean; wait?: boolean }) => {
        const { backfill } = await import("./backfill.ts");
        return await backfill(config(), { json, which: missing ? "missing" : "all", waits: wait });
      }),
    );

  command(
    "reconcile",
    "mark accounts that hold other data than were accepted last, or lack ids, in the slow lane",
    "account-sync reconcile --dry-run",
  )
    .option("--dry-run", "only list them, with the reason")
    .action(
      run(async ({ dryRun = false }: { dryRun?: boolean }) =>
        (await import("./reconcile.ts")).reconcile(config(), { json, dryRun }),
      ),
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
    .option(
      "--discard",
      "give their unfinished sends up as not applied, and send current data instead; also of those that are retrying",
    )
    .addOption(
      new Option("--class <error class>", "those that were parked for this reason").choices(
        ERROR_CLASSES,
      ),
    )
    .action(
      run(async (ids: string[], options: RetryCommandOptions) => {
        const { retry } = await import("./retry.ts");
        return await retry(config(), {
          json,
          ids: ids.map(accountId),
          all: options.all === true,
          errorClass: options.class ?? null,
          discard: options.discard === true,
        });
      }),
    );

  command(
    "adopt <id> <external-id>",
    "take the id of a customer that exists at the API for an account, and update it from there",
    "account-sync adopt 11111111-1111-4111-8111-111111111111 22222222-2222-4222-8222-222222222222",
  ).action(
    run(async (id: string, externalId: string) =>
      (await import("./adopt.ts")).adopt(config(), accountId(id), anExternalId(externalId), {
        json,
      }),
    ),
  );

  command(
    "forget <id>",
    "forget what is known of an account's ids at the API, so that the next sync creates",
    "account-sync forget 11111111-1111-4111-8111-111111111111 --yes",
  )
    .option("--tier <id>", "only the id of this tier", rowId)
    .option("--pic <id>", "only the id of this contact person", rowId)
    .option("--yes", "do not ask")
    .action(
      run(async (id: string, { tier, pic, yes = false }: ForgetCommandOptions) => {
        const { forget } = await import("./forget.ts");
        return await forget(config(), accountId(id), {
          tierId: tier ?? null,
          picId: pic ?? null,
          isSure: yes,
          json,
        });
      }),
    );

  command(
    "doctor",
    "check database, rights, triggers, LISTEN and API, and say what to do",
    "account-sync doctor",
    // The configuration is one of the things it checks, so it is handed the reading of it.
  ).action(run(async () => (await import("./doctor.ts")).doctor(config, { json })));

  command(
    "check-config",
    "read the environment as start does, and say what is wrong with it; connects to nothing",
    "account-sync check-config",
  ).action(run(async () => (await import("./check-config.ts")).checkConfig(environment, { json })));

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
      run(async (options: SandboxArguments) =>
        (await import("./sandbox.ts")).sandbox({ ...options, json, leave }),
      ),
    );

  command(
    "sql",
    "a small SQL prompt, for machines without psql; reads statements from a pipe, too",
    `echo "select * from account_sync.status" | ${callForPerson("account-sync sql", { quietly: true })}`,
  ).action(run(async () => (await import("./sql.ts")).sql(config(), { leave })));

  return program;
}

interface RetryCommandOptions {
  readonly all?: boolean;
  readonly class?: ErrorClass;
  readonly discard?: boolean;
}

interface ForgetCommandOptions {
  readonly tier?: string;
  readonly pic?: string;
  readonly yes?: boolean;
}

interface SyncCommandOptions {
  readonly user?: string;
  readonly config?: string;
  readonly force: boolean;
  readonly replace?: boolean;
  readonly timeout: number;
}
