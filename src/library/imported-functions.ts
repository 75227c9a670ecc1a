/**
 * The functions as they are imported, without any set-up: on an instance that is opened from the environment at the first call, and closed
 * with the process. It keeps no process alive, and listens to no signal: those are the application's.
 */
import type { CustomerCommand } from "../customer-command/command.ts";
import type { Environment } from "../environment.ts";
import { OperatorError } from "../operator-error.ts";
import type { AccountData } from "./account-data.ts";
import type { AccountSync, IdUpdate, UpdateResult } from "./contract.ts";
import { toDatabaseError } from "./database-error.ts";
import { type Reading, transformCustomer, validateCustomer } from "./debug-customer.ts";
import { failedUpdatesOf } from "./failed-updates.ts";
import { notValid, toValidation } from "./not-valid.ts";
import { openAccountSync } from "./open-library.ts";
import { toConfig } from "./options.ts";
import { nothingWritten } from "./processing-result.ts";
import type { SyncResult } from "./results.ts";

export type ImportedFunctions = Omit<AccountSync, "close">;

export function createImportedFunctions(environment: Environment): ImportedFunctions {
  const open = createOpening(environment);

  /** @param failed the result where it cannot be opened, for this reason */
  async function on<Result>(
    work: (library: AccountSync) => Promise<Result>,
    failed: (reason: string) => Result,
  ): Promise<Result> {
    const library = await open().catch((error: unknown) => toReason(error));
    return typeof library === "string" ? failed(library) : await work(library);
  }

  const debug: AccountSync["debugCustomerData"] = (accountData) =>
    on(
      (library) => library.debugCustomerData(accountData),
      (reason) => notValid("en", unusable(reason), commandOf(environment, accountData)),
    );

  const sync = (
    accountData: AccountData,
    configId: string | null = null,
    userId: string | null = null,
    accountId: string | number | null = null,
    debugMode = false,
  ) =>
    debugMode
      ? debug(accountData)
      : on<SyncResult>(
          (library) => library.syncCustomerToExternalApi(accountData, configId, userId, accountId),
          (reason) => ({
            success: false,
            error: reason,
            customerData: commandOf(environment, accountData),
          }),
        );

  return {
    syncCustomerToExternalApi: sync as AccountSync["syncCustomerToExternalApi"],
    debugCustomerData: debug,
    previewCustomerData: debug,
    updateAccount: (accountId, changes) =>
      on(
        (library) => library.updateAccount(accountId, changes),
        (reason) => notUpdated(accountId, changes, reason),
      ),
    updatePackageTier: (tierId, changes) =>
      on(
        (library) => library.updatePackageTier(tierId, changes),
        (reason) => notUpdated(tierId, changes, reason),
      ),
    updateAccountPIC: (picId, changes) =>
      on(
        (library) => library.updateAccountPIC(picId, changes),
        (reason) => notUpdated(picId, changes, reason),
      ),
    transformCustomerData: (accountData) => transformCustomer(readingOf(environment), accountData),
    validateCustomerData: (accountData) => {
      const reading = orReason(() => readingOf(environment));
      return typeof reading === "string"
        ? unusable(reading)
        : validateCustomer(reading, accountData);
    },
    processExternalApiResponse: (response, accountData, userId) =>
      on(
        (library) => library.processExternalApiResponse(response, accountData, userId),
        (reason) => nothingWritten(reason),
      ),
    retryFailedUpdates: (processingResult, accountData, userId) =>
      on(
        (library) => library.retryFailedUpdates(processingResult, accountData, userId),
        (reason) => nothingWritten(reason, failedUpdatesOf(processingResult)),
      ),
    getAvailableBackendConfigs: async () => await (await open()).getAvailableBackendConfigs(),
  };
}

/** Opens once, however many calls come; one that failed is tried again by the next call, as is one that was closed. */
function createOpening(environment: Environment): () => Promise<AccountSync> {
  let opening: Promise<AccountSync> | null = null;
  return () => {
    opening ??= openAccountSync({}, environment).then(
      (library) => {
        process.once("beforeExit", () => {
          opening = null;
          library.close().catch(() => {});
        });
        return library;
      },
      (error: unknown) => {
        opening = null;
        throw error;
      },
    );
    return opening;
  };
}

function readingOf(environment: Environment): Reading {
  const { api, language } = toConfig({}, environment);
  const { defaultCountry, referenceField } = api;
  return { mapping: { defaultCountry, referenceField }, language };
}

/** The command as it would have been sent; null where there is none. */
function commandOf(environment: Environment, accountData: AccountData): CustomerCommand | null {
  const command = orReason(() => transformCustomer(readingOf(environment), accountData));
  return typeof command === "string" ? null : command;
}

function orReason<Value>(make: () => Value): Value | string {
  try {
    return make();
  } catch (error) {
    return toReason(error);
  }
}

/** One line, and what to do. */
function toReason(error: unknown): string {
  if (!(error instanceof OperatorError)) return toDatabaseError(error);
  const what = error.exitCode === 2 ? "Configuration Error" : "Database Error";
  return `${what}: ${error.message} ${error.hint}`.replaceAll(/\s*\n\s*/g, " ");
}

function unusable(message: string) {
  return toValidation([{ field: "configuration", rule: "unusable", message }]);
}

function notUpdated(id: string | number, { uuid_be }: IdUpdate, error: string): UpdateResult {
  const updatedAt = new Date().toISOString();
  return { success: false, id: String(id), uuidBe: String(uuid_be), updatedAt, error };
}
