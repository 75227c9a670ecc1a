/**
 * The library: syncs accounts from code, beside daemons, through their pipeline. Each function resolves with a value for everything
 * that can be foreseen; what is wrong with the installation itself is thrown by `createAccountSync`.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { ConnectionPool } from "../db/database.ts";
import { explained } from "../db/explained.ts";
import type { Environment } from "../environment.ts";
import { OperatorError } from "../operator-error.ts";
import { createObserve } from "../ops/create-observe.ts";
import { createLog, type Log } from "../ops/log.ts";
import { createMetrics } from "../ops/metrics.ts";
import { version } from "../version.ts";
import { openWiring, requireMigrated } from "../wiring.ts";
import type { AccountData } from "./account-data.ts";
import { Calls } from "./calls.ts";
import type { LibraryContext } from "./context.ts";
import type { AccountSync, AccountSyncOptions, DebugResult } from "./contract.ts";
import { debugCustomer, transformCustomer, validateCustomer } from "./debug-customer.ts";
import { toConfig } from "./options.ts";
import { createPrepare } from "./prepare.ts";
import type { SyncResult } from "./results.ts";
import { syncCustomer } from "./sync-customer.ts";
import { processResponse, retryFailedUpdates, updateId } from "./update-ids.ts";

const USER_CHARACTERS_MAX = 50;
/** How long, once the API has answered, the database is waited for before the caller is told. */
const WRITE_WITHIN_MS = 10_000;
/** Work beside the calls, such as preparing one, is waited for so long when the library is closed. */
const CLOSE_WITHIN_MS = 10_000;

/** @throws OperatorError with what to do: bad options, no database, not migrated */
export async function openAccountSync(
  options: AccountSyncOptions,
  environment: Environment,
): Promise<AccountSync> {
  const context = await openContext(options, environment);
  const { wiring, calls, language } = context;
  const reading = { mapping: wiring.mapping, language };
  const underWay = new Set<Promise<unknown>>();
  let closed: Promise<void> | null = null;

  async function syncCustomerToExternalApi(
    accountData: AccountData,
    configId: string | null = null,
    userId: string | null = null,
    accountId: string | number | null = null,
    debugMode = false,
  ): Promise<SyncResult | DebugResult> {
    return debugMode
      ? await debugCustomer(context, accountData)
      : await syncCustomer(context, accountData, { configId, userId, accountId });
  }

  /** The database stays open until it has ended. */
  function whole<Parameters extends unknown[], Result>(
    work: (...parameters: Parameters) => Promise<Result>,
  ): (...parameters: Parameters) => Promise<Result> {
    return async (...parameters) => {
      const one = work(...parameters);
      underWay.add(one);
      try {
        return await one;
      } finally {
        underWay.delete(one);
      }
    };
  }

  async function close(): Promise<void> {
    await calls.close();
    // Calls that were still being prepared find that it is closed.
    await Promise.race([
      Promise.allSettled(underWay),
      sleep(CLOSE_WITHIN_MS, undefined, { ref: false }),
    ]);
    await wiring.close();
  }

  return {
    syncCustomerToExternalApi: whole(
      syncCustomerToExternalApi,
    ) as AccountSync["syncCustomerToExternalApi"],
    debugCustomerData: whole((accountData) => debugCustomer(context, accountData)),
    previewCustomerData: whole((accountData) => debugCustomer(context, accountData)),
    updateAccount: whole((accountId, changes) => updateId(context, "customer", accountId, changes)),
    updatePackageTier: whole((tierId, changes) => updateId(context, "tier", tierId, changes)),
    updateAccountPIC: whole((picId, changes) => updateId(context, "crew", picId, changes)),
    transformCustomerData: (accountData) => transformCustomer(reading, accountData),
    validateCustomerData: (accountData) => validateCustomer(reading, accountData),
    processExternalApiResponse: whole((response, accountData, userId = null) =>
      processResponse(context, response, accountData, userId),
    ),
    retryFailedUpdates: whole((processingResult, accountData, userId = null) =>
      retryFailedUpdates(context, processingResult, accountData, userId),
    ),
    getAvailableBackendConfigs: whole(() => wiring.connections.list()),
    close(): Promise<void> {
      closed ??= close();
      return closed;
    },
  };
}

async function openContext(
  options: AccountSyncOptions,
  environment: Environment,
): Promise<LibraryContext> {
  const config = toConfig(options, environment);
  const observe = createObserve({
    log: options.log === false ? SILENT : (options.log ?? createWarnings()),
    // A library has no port to be scraped on.
    metrics: createMetrics({
      version,
      queueStatus: async () => Promise.reject(new Error("unused")),
    }),
  });
  const database =
    typeof options.database === "object"
      ? (options.database as ConnectionPool)
      : config.database.url;
  if (database === null) {
    throw new OperatorError("It is not known where the accounts are.", {
      hint: "Give createAccountSync a `database` (a connection string or a pool), or set DATABASE_URL.",
      exitCode: 2,
    });
  }

  const wiring = await openWiring(config, database, observe).catch((error: unknown) => {
    throw typeof database === "string" ? explained(error, database) : error;
  });
  await requireMigrated(wiring).catch(async (error: unknown) => {
    await wiring.close();
    throw error;
  });
  return {
    wiring,
    prepare: createPrepare(wiring),
    observe,
    calls: new Calls({
      wiring,
      observe,
      concurrency: config.sync.concurrency,
      waitMs: options.waitMs ?? 2 * config.api.timeoutMs,
      writeWithinMs: WRITE_WITHIN_MS,
    }),
    language: config.language,
    userOf: (userId) => (userId ?? config.sync.userId).slice(0, USER_CHARACTERS_MAX).toWellFormed(),
  };
}

function createWarnings(): Log {
  return createLog({ level: "warn", format: "json", destination: process.stderr });
}

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {}, fatal() {} };
