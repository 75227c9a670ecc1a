/**
 * The library. Its functions can be imported as they are: the environment says where the database and the API are, as for the daemon.
 *
 *     import { syncCustomerToExternalApi } from "account-sync";
 *     const result = await syncCustomerToExternalApi({ id, name, package_tiers: [], pics: [] });
 *
 * Or they are opened with options, and closed:
 *
 *     const { syncCustomerToExternalApi, close } = await createAccountSync({ database: pool });
 *
 * The database has to be migrated (`account-sync migrate`); daemons may run beside it.
 */
import "./refuse-old-node.ts";
import type { AccountSync, AccountSyncOptions } from "./library/contract.ts";
import type * as Imported from "./library/imported-functions.ts";

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

let functions: Imported.ImportedFunctions | null = null;

/**
 * Loaded by the first call, for the same reason. By `require`, as some of them return at once; and none of them by an import, since one
 * that is under way and a `require` of the same module exclude each other.
 */
function imported(): Imported.ImportedFunctions {
  if (functions === null) {
    const require = process.getBuiltinModule("node:module").createRequire(import.meta.url);
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const module = require(`./library/imported-functions.${extension}`) as typeof Imported;
    functions = module.createImportedFunctions(process.env);
  }
  return functions;
}

export const syncCustomerToExternalApi = ((
  ...call: Parameters<AccountSync["syncCustomerToExternalApi"]>
) => imported().syncCustomerToExternalApi(...call)) as AccountSync["syncCustomerToExternalApi"];

export const debugCustomerData: AccountSync["debugCustomerData"] = (...call) =>
  imported().debugCustomerData(...call);

export const previewCustomerData: AccountSync["previewCustomerData"] = (...call) =>
  imported().previewCustomerData(...call);

export const updateAccount: AccountSync["updateAccount"] = (...call) =>
  imported().updateAccount(...call);

export const updatePackageTier: AccountSync["updatePackageTier"] = (...call) =>
  imported().updatePackageTier(...call);

export const updateAccountPIC: AccountSync["updateAccountPIC"] = (...call) =>
  imported().updateAccountPIC(...call);

/** @throws OperatorError where the environment is wrong, TypeError where the input has no shape to make a command of */
export const transformCustomerData: AccountSync["transformCustomerData"] = (...call) =>
  imported().transformCustomerData(...call);

export const validateCustomerData: AccountSync["validateCustomerData"] = (...call) =>
  imported().validateCustomerData(...call);

export const processExternalApiResponse: AccountSync["processExternalApiResponse"] = (...call) =>
  imported().processExternalApiResponse(...call);

export const retryFailedUpdates: AccountSync["retryFailedUpdates"] = (...call) =>
  imported().retryFailedUpdates(...call);

/** Rejects with an OperatorError where the environment is wrong or the database cannot be used. */
export const getAvailableBackendConfigs: AccountSync["getAvailableBackendConfigs"] = (...call) =>
  imported().getAvailableBackendConfigs(...call);

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
