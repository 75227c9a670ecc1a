/**
 * The library: syncs accounts from code, beside daemons, through their pipeline. Each function resolves with a value for everything
 * that can be foreseen; what is wrong with the installation itself is thrown by `createAccountSync`.
 */

import type { Account } from "../account/account.ts";
import { loadAccounts } from "../account/load.ts";
import { readAnswer } from "../customer-api/answer.ts";
import type { CustomerCommand, SentRow, SentRows } from "../customer-command/command.ts";
import { matchIds, type ReceivedIds } from "../customer-command/match-ids.ts";
import { type Language, SENTENCES, say } from "../customer-command/messages.ts";
import { type LastAccepted, previewCommand } from "../customer-command/preview.ts";
import { toCommand } from "../customer-command/transform.ts";
import { toValidationContext, validateCommand } from "../customer-command/validate.ts";
import type { ConnectionPool } from "../db/database.ts";
import { explained } from "../db/explained.ts";
import type { Environment } from "../environment.ts";
import { OperatorError } from "../operator-error.ts";
import { createLog, type Log } from "../ops/log.ts";
import { createMetrics } from "../ops/metrics.ts";
import { createObserve } from "../ops/observe.ts";
import { openParts, type Parts, requireMigrated } from "../parts.ts";
import { version } from "../version.ts";
import { type AccountData, parseAccountData } from "./account-data.ts";
import { Calls, type Ended } from "./calls.ts";
import type {
  AccountSync,
  AccountSyncOptions,
  DebugResult,
  IdUpdate,
  UpdateResult,
} from "./contract.ts";
import { toConfig } from "./options.ts";
import { createPrepare } from "./prepare.ts";
import { errorOf, toProcessingResult } from "./processing-result.ts";
import type {
  Finding,
  NotValidResult,
  ProcessingResult,
  SyncResult,
  ValidationResult,
} from "./results.ts";
import { failedUpdatesOf, readRow, receivedOf, toDatabaseError, writeIds } from "./updates.ts";

const USER_CHARACTERS_MAX = 50;
/** How long, once the API has answered, the database is waited for before the caller is told. */
const WRITE_WITHIN_MS = 10_000;

/** @throws OperatorError with what to do: bad options, no database, not migrated */
export async function openAccountSync(
  options: AccountSyncOptions,
  environment: Environment,
): Promise<AccountSync> {
  const config = toConfig(options, environment);
  const observe = createObserve({
    log: options.log === false ? SILENT : (options.log ?? createWarnings()),
    // Nobody scrapes a library.
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
  const parts = await openParts(config, database, observe).catch((error: unknown) => {
    throw typeof database === "string" ? explained(error, database) : error;
  });
  await requireMigrated(parts).catch(async (error: unknown) => {
    await parts.close();
    throw error;
  });
  const { db, mapping } = parts;
  const { language } = config;
  const userOf = (userId: string | null | undefined) =>
    (userId ?? config.sync.userId).slice(0, USER_CHARACTERS_MAX);
  let closed: Promise<void> | null = null;
  const notValid = notValidIn.bind(null, language);
  const prepare = createPrepare(parts);
  const calls = new Calls({
    parts,
    observe,
    concurrency: config.sync.concurrency,
    waitMs: options.waitMs ?? 2 * config.api.timeoutMs,
    writeWithinMs: WRITE_WITHIN_MS,
  });

  async function syncCustomerToExternalApi(
    accountData: AccountData,
    configId: string | null = null,
    userId: string | null = null,
    accountId: string | number | null = null,
    debugMode = false,
  ): Promise<SyncResult | DebugResult> {
    if (debugMode) return await debugCustomerData(accountData);
    const ready = await makeReady(accountData, userId);
    if ("success" in ready) return ready;
    const { given, command, validation } = ready;
    if (!validation.isValid) return notValid(validation, command);
    if (configId !== null) {
      const unusable = await reasonAgainst(configId);
      if (unusable !== null)
        return notValid(toValidation("configId", "unusable", unusable), command);
    }

    const ended = await calls.sync({ account: given, userId: userOf(userId), configId });
    const result = toResult(ended, command, notValid);
    if (accountId !== null && String(accountId) !== given.id)
      await noteInHistory(parts, String(accountId), ended, result);
    return result;
  }

  /** The command as it would be sent now, or why there is none. */
  async function makeReady(
    accountData: AccountData,
    userId: string | null,
  ): Promise<Ready | Unready> {
    const parsed = parseAccountData(accountData);
    if (!parsed.isShaped) return notValid(malformed(parsed.errors), null);
    try {
      const prepared = await prepare(parsed, { kind: "adopting", userId: userOf(userId) });
      if (prepared.kind === "unusable") {
        const { field, rule, message } = prepared;
        return notValid(
          toValidation(field, rule, message),
          toCommand(parsed.account, mapping).command,
        );
      }
      const { given, account } = prepared;
      const { command, sent } = toCommand(account, mapping);
      const validation = validateCommand(command, toValidationContext(account, language));
      return { given, command, sent, validation };
    } catch (error) {
      const customerData = toCommand(parsed.account, mapping).command;
      return { success: false, error: toDatabaseError(error), customerData };
    }
  }

  /** Why nothing can be sent to this configuration; null when it can, and where only the sync will tell. */
  async function reasonAgainst(configId: string): Promise<string | null> {
    const connection = await parts.connections.of(configId).catch(() => null);
    return connection !== null && "error" in connection ? connection.error : null;
  }

  async function debugCustomerData(accountData: AccountData): Promise<DebugResult> {
    const parsed = parseAccountData(accountData);
    if (!parsed.isShaped) return notValid(malformed(parsed.errors), null);
    // Also of an account that is not in the tables, and without the database: what is handed in can be looked at all the same.
    const prepared = await prepare(parsed, { kind: "reading" }).catch(() => null);
    const account = prepared?.kind === "prepared" ? prepared.account : parsed.account;
    const [lastAccepted = null] = await db
      .run<LastAccepted>("last_accepted", [account.id])
      .catch(() => []);
    return previewCommand({ originalData: accountData, account, mapping, language, lastAccepted });
  }

  async function update(
    type: "customer" | "tier" | "crew",
    id: string | number,
    { uuid_be, updated_by, replace = false }: IdUpdate,
  ): Promise<UpdateResult> {
    const uuidBe = String(uuid_be).trim();
    const end = (error: string | null): UpdateResult => ({
      success: error === null,
      id: String(id),
      uuidBe,
      updatedAt: new Date().toISOString(),
      ...(error === null ? {} : { error }),
    });
    if (uuidBe === "" || uuidBe.length > 255) return end("uuid_be must have 1 to 255 characters");
    try {
      const row = await readRow(db, type, String(id));
      if (row === null) return end("there is no such row");

      const rows = await writeIds(db, {
        sent: row.sent,
        received: receivedOf([{ type, id: String(id), uuidBe }]),
        userId: userOf(updated_by),
        replace,
      });
      return end("error" in rows ? rows.error : (rows.map(errorOf)[0] ?? null));
    } catch (error) {
      return end(toDatabaseError(error));
    }
  }

  return {
    syncCustomerToExternalApi:
      syncCustomerToExternalApi as AccountSync["syncCustomerToExternalApi"],
    debugCustomerData,
    previewCustomerData: debugCustomerData,

    updateAccount: (accountId: string | number, changes: IdUpdate) =>
      update("customer", accountId, changes),

    updatePackageTier: (tierId: string | number, changes: IdUpdate) =>
      update("tier", tierId, changes),

    updateAccountPIC: (picId: string | number, changes: IdUpdate) => update("crew", picId, changes),

    transformCustomerData(accountData: AccountData): CustomerCommand {
      const parsed = parseAccountData(accountData);
      if (!parsed.isShaped) throw new TypeError(sentence(parsed.errors));
      return toCommand(parsed.account, mapping).command;
    },

    validateCustomerData(accountData: AccountData): ValidationResult {
      const parsed = parseAccountData(accountData);
      if (!parsed.isShaped) return malformed(parsed.errors);
      const { command } = toCommand(parsed.account, mapping);
      return validateCommand(command, toValidationContext(parsed.account, language));
    },

    async processExternalApiResponse(
      response: unknown,
      accountData: AccountData,
      userId: string | null = null,
    ): Promise<ProcessingResult> {
      const ready = await makeReady(accountData, userId);
      if ("success" in ready) return nothingWritten(ready.error);
      const answer = readAnswer(response);
      if (answer === null)
        return nothingWritten("The response has none of the sections of an answer");
      if (answer.refusal !== null) return nothingWritten(`The API refused: ${answer.refusal}`);

      const { command, sent } = ready;
      const received = matchIds(answer, command, sent, {
        referenceField: mapping.referenceField,
        answers: "the command",
      });
      return await write(sent, received, userId);
    },

    async retryFailedUpdates(
      processingResult: ProcessingResult,
      accountData: Pick<AccountData, "id">,
      userId: string | null = null,
    ): Promise<ProcessingResult> {
      const failed = failedUpdatesOf(processingResult);
      const received = receivedOf(failed);
      try {
        const [loaded] = await loadAccounts(db, [await canonical(parts, accountData.id)]);
        const account = loaded?.account ?? null;
        if (account === null) return nothingWritten("There is no such account");

        // Each among its own: where keys are numbers, a tier and a contact person may have the same.
        const asTheyStand = (wanted: readonly { id: string }[], rows: readonly SentRow[]) => {
          const idOf = new Map(rows.map((row) => [row.id, row.externalId]));
          return wanted.map(({ id }) => ({ id, externalId: idOf.get(id) ?? null }));
        };
        const sent: SentRows = {
          accountId: account.id,
          externalId: account.externalId,
          branchExternalId: account.branchExternalId,
          tiers: asTheyStand(received.tiers, account.tiers),
          pics: asTheyStand(received.pics, account.pics),
        };
        return await write(sent, received, userId);
      } catch (error) {
        return { ...nothingWritten(toDatabaseError(error)), failedUpdates: failed };
      }
    },

    getAvailableBackendConfigs: () => parts.connections.list(),

    close(): Promise<void> {
      closed ??= calls.close().then(() => parts.close());
      return closed;
    },
  };

  async function write(
    sent: SentRows,
    received: ReceivedIds,
    userId: string | null,
  ): Promise<ProcessingResult> {
    const rows = await writeIds(db, { sent, received, userId: userOf(userId), replace: false });
    const isAboutCustomer = received.customer !== null || received.branch !== null;
    return toProcessingResult({ sent, received, rows, isAboutCustomer }, new Date().toISOString());
  }
}

interface Ready {
  /** As it was handed in, with what it refers to. */
  readonly given: Account;
  readonly command: CustomerCommand;
  readonly sent: SentRows;
  readonly validation: ValidationResult;
}

type Unready = Extract<SyncResult, { success: false }>;

async function canonical({ db }: Parts, id: string | number | bigint): Promise<string> {
  const [row] = await db.run<{ accountId: string }>("canonical_ids", [[String(id)]]);
  return row?.accountId ?? String(id);
}

function toResult(
  ended: Ended,
  prepared: CustomerCommand,
  notValid: (validation: ValidationResult, customerData: CustomerCommand) => NotValidResult,
): SyncResult {
  const { command, result, sent, received, outcome, error } = ended;
  const customerData = command ?? prepared;

  if (result?.kind === "accepted" && sent !== null && received !== null) {
    const rows = outcome?.rows ?? {
      error:
        error === null
          ? "Database Error: the lease was lost before the ids were written; a daemon writes them"
          : toDatabaseError(error),
    };
    return {
      success: true,
      response: result.body ?? null,
      customerData,
      processingResult: toProcessingResult({ sent, received, rows }, new Date().toISOString()),
    };
  }
  if (outcome === null && result === null) {
    const lost = "Database Error: the lease was lost before anything was sent";
    return {
      success: false,
      error: error === null ? lost : toDatabaseError(error),
      customerData,
    };
  }

  const failure = result?.kind === "failed" ? result.failure : null;
  const message = outcome?.error ?? failure?.message ?? outcome?.name ?? "no answer";
  if (outcome !== null && (outcome.name === "blocked" || outcome.errorClass === "validation")) {
    const field = outcome.name === "blocked" ? "customer.parent_id" : "the account";
    return notValid(toValidation(field, outcome.name, message), customerData);
  }
  const isUnknown = outcome?.errorClass === "unknown_outcome";
  return {
    success: false,
    error: `External API Error: ${message}`,
    details: {
      httpStatus: outcome?.httpStatus ?? failure?.httpStatus ?? null,
      errorClass: outcome?.errorClass ?? failure?.errorClass ?? "network",
      delivery: isUnknown ? "unknown" : (failure?.delivery ?? "not_sent"),
      retryAfterMs: failure?.retryAfterMs ?? null,
    },
    customerData,
  };
}

/** The same attempt, under the account that the caller named for the history. */
async function noteInHistory(
  { db }: Parts,
  accountId: string,
  { outcome }: Ended,
  result: SyncResult,
): Promise<void> {
  const counts = JSON.stringify(outcome?.updated ?? { account: 0, tier: 0, pic: 0 });
  const failed = JSON.stringify({ account: result.success ? 0 : 1, tier: 0, pic: 0 });
  await db
    .run("record_attempts", [
      [accountId],
      ["0"],
      ["manual"],
      [outcome?.name ?? "retry"],
      [outcome?.errorClass ?? null],
      [result.success ? null : result.error],
      [counts],
      [failed],
      [0],
      [0],
    ])
    // The sync is done, and told.
    .catch(() => {});
}

function notValidIn(
  language: Language,
  validation: ValidationResult,
  customerData: CustomerCommand | null,
): NotValidResult {
  return {
    success: false,
    error: say(SENTENCES.validation_failed, language, { findings: sentence(validation.errors) }),
    validationResult: validation,
    customerData,
  };
}

function malformed(errors: readonly Finding[]): ValidationResult {
  return {
    isValid: false,
    errors,
    warnings: [],
    summary: { totalErrors: errors.length, totalWarnings: 0 },
  };
}

function toValidation(field: string, rule: string, message: string): ValidationResult {
  return malformed([{ field, rule, message }]);
}

function sentence(findings: readonly Finding[]): string {
  return findings.map(({ message }) => message).join("; ");
}

function nothingWritten(error: string): ProcessingResult {
  return {
    success: false,
    error,
    updatedRecords: [],
    errors: [error],
    summary: { totalUpdated: 0, totalErrors: 1 },
  };
}

function createWarnings(): Log {
  return createLog({ level: "warn", format: "json", destination: process.stderr });
}

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {}, fatal() {} };
