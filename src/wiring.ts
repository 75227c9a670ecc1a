/**
 * The parts that the daemon and the commands share, built in reading order: database, source, queue, API, sync.
 *
 * Expects a migrated database. Starts nothing: no loop runs and nothing listens until it is asked to.
 */
import { apiConfigReader, describeSource, type Source } from "./account/source.ts";
import { backoffMs } from "./backoff.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { Config } from "./config.ts";
import { withAsciiWords } from "./customer-api/ascii-words.ts";
import {
  type CustomerApiClient,
  createCustomerApi,
  TOKEN_TIMEOUT_MAX_MS,
} from "./customer-api/client.ts";
import { type Connections, createConnections } from "./customer-api/connections.ts";
import type { TransformOptions } from "./customer-command/transform.ts";
import {
  type ConnectionPool,
  createDatabase,
  type Database,
  type DatabaseOptions,
  databaseOver,
} from "./db/database.ts";
import type { RepairedIdentity } from "./db/identities.ts";
import { isPooled } from "./db/pooling.ts";
import { diagnoseSchemaVersion, readSchemaVersion } from "./db/schema-version.ts";
import { OperatorError } from "./operator-error.ts";
import type { Observe } from "./ops/observe.ts";
import { createInspector } from "./queue/inspect.ts";
import { createQueue, type Queue } from "./queue/queue.ts";
import { RequestSlots } from "./queue/request-slots.ts";
import { type Asker, readSending, type Sending } from "./queue/sending.ts";
import { createSync, type Sync } from "./sync/create-sync.ts";
import { createRateLimit } from "./sync/rate-limit.ts";
import { version } from "./version.ts";

export interface Wiring {
  readonly clock: Clock;
  readonly db: Database;
  readonly source: Source;
  readonly queue: Queue;
  readonly inspector: ReturnType<typeof createInspector>;
  readonly connections: Connections;
  readonly mapping: TransformOptions;
  readonly api: CustomerApiClient;
  readonly sync: Sync;
  readonly slots: RequestSlots;
  /** Milliseconds after so many failed attempts. */
  readonly delayAfter: (attempts: number) => number;
  close(): Promise<void>;
}

/**
 * One for the fold loop, one for claims, one for renewals, which then wait for neither. A pool of fewer than six connections has more need
 * of them for loading and writing, so there a renewal may wait for a fold.
 */
const RELAXED_CONNECTIONS = 3;
const RELAXED_CONNECTIONS_OF_SMALL_POOL = 2;
const SMALL_POOL = 6;
/**
 * Of each pool of a daemon: a new session connects and prepares its statements, which makes the next edit's way twice as long. Not of the
 * library: it runs in many processes of an application, which has better use for the server's connections.
 */
const KEPT_SESSIONS = 3;

/**
 * @param database where it is; or a caller's pool, which is not closed
 * @param replicaId the daemon's number; null for a command or a library
 */
export async function openWiring(
  config: Config,
  database: string | ConnectionPool,
  observe: Observe,
  replicaId: number | null = null,
): Promise<Wiring> {
  const onRepaired = (repaired: RepairedIdentity) =>
    observe.warning("A sequence was behind its table, and is set to the highest id there", {
      ...repaired,
    });
  const { db, relaxedDb } =
    typeof database === "string"
      ? await openDatabases(config, database, observe, {
          onRepaired,
          kept: replicaId === null ? 0 : KEPT_SESSIONS,
        })
      : databasesOn(database, onRepaired);

  const source = await describeSource(db).catch(async (error: unknown) => {
    await relaxedDb.close();
    await db.close();
    throw error;
  });
  const queue = createQueue({
    db,
    relaxedDb,
    quietPeriodMs: config.sync.quietPeriodMs,
    maxWaitMs: config.sync.maxWaitMs,
    leaseMs: config.sync.leaseMs,
    replicaId,
  });
  const connections = createConnections(apiConfigReader(db, source), config.api, (error) =>
    error === null
      ? observe.info("The API's configuration can be used again: sending")
      : observe.warning("Nothing is sent: the API's configuration cannot be used", {
          reason: error,
        }),
  );
  const rateLimit = createRateLimit(db, config.api.maxRps);
  const client = createCustomerApi({
    timeoutMs: config.api.timeoutMs,
    promisedNotApplied: config.api.notAppliedStatuses,
    userAgent: `account-sync/${version}`,
    observe,
    backoff: { backoffMinMs: config.sync.backoff.minMs, backoffMaxMs: config.sync.backoff.maxMs },
    // We wait in any case; that the others do not know yet costs the API a few requests too many.
    onWaitAsked: (baseUrl, forMs) =>
      void rateLimit
        .shareWait(baseUrl, forMs)
        .catch((error: unknown) =>
          observe.databaseTrouble({ doing: "telling the other daemons to wait", error }),
        ),
  });
  const api = source.isUnicode ? client : withAsciiWords(client);
  const mapping = {
    defaultCountry: config.api.defaultCountry,
    referenceField: config.api.referenceField,
  };
  const tokenTimeoutMs = Math.min(config.api.timeoutMs, TOKEN_TIMEOUT_MAX_MS);
  const delayAfter = (attempts: number) =>
    backoffMs(attempts, config.sync.backoff, systemClock.random);
  const slots = new RequestSlots(config.sync.concurrency, systemClock);
  const sync = createSync({
    clock: systemClock,
    db,
    queue,
    api,
    connections,
    mapping,
    observe,
    rateLimit,
    slots,
    policy: {
      unknownOutcome: config.api.unknownOutcome ?? "park",
      lookupFirst: config.api.lookupFirst,
      beginWithinMs: tokenTimeoutMs,
      applyingMaxMs: tokenTimeoutMs + config.api.timeoutMs,
      maxAttempts: config.sync.maxAttempts,
      onAccountDelete: config.sync.onAccountDelete,
      defaultUserId: config.sync.userId,
      language: config.language,
      delayAfter,
      blockedRecheckMs: Math.min(config.sync.backoff.maxMs, 300_000),
    },
  });

  return {
    clock: systemClock,
    db,
    source,
    queue,
    inspector: createInspector(db),
    connections,
    mapping,
    api,
    sync,
    slots,
    delayAfter,
    async close() {
      await api.close();
      await relaxedDb.close();
      await db.close();
    },
  };
}

interface Databases {
  readonly db: Database;
  /** Commits without waiting for the disk. */
  readonly relaxedDb: Database;
}

type OnRepaired = (repaired: RepairedIdentity) => void;

async function openDatabases(
  config: Config,
  url: string,
  observe: Observe,
  sessions: Pick<DatabaseOptions, "kept" | "onRepaired">,
): Promise<Databases> {
  const { poolMax } = config.database;
  const relaxedMax = poolMax < SMALL_POOL ? RELAXED_CONNECTIONS_OF_SMALL_POOL : RELAXED_CONNECTIONS;
  const options = {
    url,
    applicationName: `account-sync ${version}`,
    settingsPerTransaction: await isPooled(url),
    onError: (error: Error) => observe.databaseTrouble({ doing: "keeping a connection", error }),
    ...sessions,
  };
  return {
    db: createDatabase({
      ...options,
      max: poolMax - relaxedMax,
      synchronousCommit: "on",
    }),
    relaxedDb: createDatabase({
      ...options,
      max: relaxedMax,
      synchronousCommit: "off",
    }),
  };
}

/** Its sessions are not set up as ours are, so every transaction is told what they would know. */
function databasesOn(pool: ConnectionPool, onRepaired: OnRepaired): Databases {
  const options = { settingsPerTransaction: true, onRepaired };
  const db = { ...databaseOver(pool, options), close: async () => {} };
  return { db, relaxedDb: db };
}

/**
 * The daemons that send, and what stops them.
 *
 * @param asker the daemon that asks; null for a command
 */
export async function findSending(
  { db, connections }: Pick<Wiring, "db" | "connections">,
  asker: Asker | null = null,
): Promise<Sending> {
  return await readSending(db, await connections.defaultBaseUrl(), asker);
}

/** @throws OperatorError when the API that everything is sent to by default cannot be told or used */
export async function requireConnection(connections: Connections): Promise<void> {
  const connection = await connections.of(null);
  if (!("error" in connection)) return;
  throw new OperatorError(`It is not known where to send customers to: ${connection.error}.`, {
    hint: "Set CUSTOMER_API_URL (and its credentials), or put a row into m_backend_ext_config.",
    exitCode: 2,
  });
}

/** @throws OperatorError with what to do */
export async function requireMigrated({ db }: Pick<Wiring, "db">): Promise<void> {
  const diagnosis = diagnoseSchemaVersion(await readSchemaVersion(db));
  if (diagnosis !== null) throw OperatorError.of(diagnosis);
}
