/**
 * The library.
 *
 *     const { syncCustomerToExternalApi, close } = await createAccountSync({ database: pool });
 *     const result = await syncCustomerToExternalApi({ id, name, package_tiers: [], pics: [] });
 *
 * The database has to be migrated (`account-sync migrate`); daemons may run beside it.
 */
import "./refuse-old-node.ts";
import type { AccountSync, AccountSyncOptions } from "./library/contract.ts";

/**
 * Opens the library's functions: destructure them, they need no `this`.
 *
 * @param options without them, the environment decides, as it does for the daemon
 * @throws OperatorError with what to do (`hint`): options that are wrong, no database, one that is not migrated
 */
export async function createAccountSync(options: AccountSyncOptions = {}): Promise<AccountSync> {
  // Not at the top: an import that an old Node cannot link fails before refuse-old-node.ts can report the reason.
  const { openAccountSync } = await import("./library/open-library.ts");
  return await openAccountSync(options, process.env);
}

export type { CustomerCommand } from "./customer-command/command.ts";
export type { Preview } from "./customer-command/preview.ts";
export type {
  AccountData,
  AddressData,
  BankAccountData,
  PackageTierData,
  PicData,
} from "./library/account-data.ts";
export type {
  AccountSync,
  AccountSyncOptions,
  ApiOptions,
  BackendConfig,
  DatabasePool,
  DebugResult,
  IdUpdate,
  UpdateResult,
  Warnings,
} from "./library/contract.ts";
export type {
  CustomerRecord,
  DatabaseResult,
  FailedUpdate,
  Finding,
  NotValidResult,
  PicDetail,
  ProcessingResult,
  RefusalDetails,
  RefusedResult,
  RowsRecord,
  SyncedResult,
  SyncResult,
  TierDetail,
  UpdatedRecord,
  ValidationResult,
} from "./library/results.ts";
export { OperatorError } from "./operator-error.ts";
