/** What the library takes and gives: the functions of `createAccountSync`, and its options. Types only. */
import type { CustomerCommand } from "../customer-command/command.ts";
import type { Preview } from "../customer-command/preview.ts";
import type { AccountData } from "./account-data.ts";
import type {
  NotValidResult,
  ProcessingResult,
  SyncResult,
  ValidationResult,
  Without,
} from "./results.ts";

/** Destructure them: they need no `this`. */
export interface AccountSync {
  /**
   * Brings an account to the customer API and the ids it gives out back, as the daemon does: under its lease, with its journal, and
   * guarded so that nothing is sent twice. What is sent is `accountData`; whether it is a create or an update is decided by the row as
   * it stands. Ids are written to the rows of `accountData.id`.
   *
   * @param configId row of `m_backend_ext_config`; null for the default one
   * @param userId `updated_by` of the rows that are written
   * @param accountId under which the attempt shall stand in the history, too, where it is another one than `accountData.id`
   * @param debugMode sends and writes nothing, and resolves with what would be sent
   * @returns by `success` and what stands beside it: synced (`response`, `processingResult`), not valid (`validationResult`), refused
   *   (`details`), or the database's failure. Never rejects for what can be foreseen.
   */
  syncCustomerToExternalApi(
    accountData: AccountData,
    configId?: string | null,
    userId?: string | null,
    accountId?: string | number | null,
    debugMode?: false,
  ): Promise<SyncResult>;
  syncCustomerToExternalApi(
    accountData: AccountData,
    configId: string | null,
    userId: string | null,
    accountId: string | number | null,
    debugMode: true,
  ): Promise<DebugResult>;
  syncCustomerToExternalApi(
    accountData: AccountData,
    configId: string | null,
    userId: string | null,
    accountId: string | number | null,
    debugMode: boolean,
  ): Promise<SyncResult | DebugResult>;

  /**
   * What would be sent, whether it may be, where each field comes from, and what is different from the command last accepted. Sends and
   * writes nothing. What `accountData` refers to is looked up where the database can be reached; the rest is made of it alone.
   */
  debugCustomerData(accountData: AccountData): Promise<DebugResult>;

  /** The same. */
  previewCustomerData(accountData: AccountData): Promise<DebugResult>;

  /** Writes an account's `uuid_be`. A different one that stands is kept unless `replace` is true. Never rejects. */
  updateAccount(accountId: string | number, changes: IdUpdate): Promise<UpdateResult>;

  /** Writes a package tier's `uuid_be`, as `updateAccount` does. */
  updatePackageTier(tierId: string | number, changes: IdUpdate): Promise<UpdateResult>;

  /** Writes a contact person's `uuid_be`, as `updateAccount` does. */
  updateAccountPIC(picId: string | number, changes: IdUpdate): Promise<UpdateResult>;

  /**
   * The command that describes the account, made of the input alone: a create without `uuid_be`, an update with it.
   *
   * @throws TypeError naming each field that has no shape to make a command of
   */
  transformCustomerData(accountData: AccountData): CustomerCommand;

  /** What is wrong with the command of this input. Never throws. */
  validateCustomerData(accountData: AccountData): ValidationResult;

  /**
   * Writes the ids of an answer that came some other way to the rows of `accountData`, matched by evidence as after a sync. Sends nothing.
   *
   * @param response the API's answer, as JSON
   */
  processExternalApiResponse(
    response: unknown,
    accountData: AccountData,
    userId?: string | null,
  ): Promise<ProcessingResult>;

  /**
   * Writes the ids that a sync received and could not write, and settles that sync: a daemon sends nothing again. Sends nothing; ids that
   * stand are left alone.
   *
   * @param processingResult of `syncCustomerToExternalApi`; may have been through JSON
   * @returns what became of those ids, in the same shape: it can be retried again
   */
  retryFailedUpdates(
    processingResult: ProcessingResult,
    accountData: Pick<AccountData, "id">,
    userId?: string | null,
  ): Promise<ProcessingResult>;

  /**
   * What a `configId` can be, read anew: the API of the environment or the options first (id null), then the rows of
   * `m_backend_ext_config`, newest first. Never a secret. Rejects when the database does not answer.
   */
  getAvailableBackendConfigs(): Promise<BackendConfig[]>;

  /** Finishes what is under way, and closes every connection but those of a pool that was handed in. */
  close(): Promise<void>;
}

/** An API that can be asked for. */
export interface BackendConfig {
  readonly id: string | null;
  readonly name: string | null;
  /** Origin and path only; null where it is none. */
  readonly baseUrl: string | null;
  readonly isActive: boolean;
  /** Taken when none is asked for. */
  readonly isDefault: boolean;
  readonly isUsable: boolean;
  /** Why it cannot be used; null when it can. */
  readonly reason: string | null;
}

/** `mode: "debug"`; or why there is nothing to show. Holds personal data: `previewData` alone has its numbers masked. */
export type DebugResult =
  | (Preview & Without<"error" | "processingResult">)
  | (NotValidResult & Without<"mode" | "processingResult">);

/** What a single write of an id resolves with. */
export interface UpdateResult {
  readonly success: boolean;
  readonly id: string;
  readonly uuidBe: string;
  /** ISO 8601. */
  readonly updatedAt: string;
  readonly error?: string;
}

export interface IdUpdate {
  readonly uuid_be: string | number;
  /** `updated_by`; default: the library's user. */
  readonly updated_by?: string | null;
  /** A different id that stands is replaced. Default false: it is kept, and the result says so. */
  readonly replace?: boolean;
}

export interface AccountSyncOptions {
  /**
   * Where the accounts are: a connection string, or a pool of yours (of `pg`), which stays yours. A call needs connections of it beside
   * those that you hold. Default: `DATABASE_URL`.
   */
  readonly database?: string | DatabasePool;
  /** The customer API, instead of the environment's `CUSTOMER_API_…`, of which none counts then. */
  readonly api?: ApiOptions;
  /** The row of `m_backend_ext_config` for calls that name none. Without `api` and this one, the environment decides. */
  readonly configId?: string;
  /** `updated_by` where a call names no user. Default: `SYNC_USER_ID`, `account-sync`. */
  readonly userId?: string;
  /** Language of validation messages. Default: `MESSAGES`, `en`. */
  readonly messages?: "en" | "id";
  /** Requests in flight; more calls are loaded ahead of them and settled behind them. Default: `SYNC_CONCURRENCY`, 16. */
  readonly concurrency?: number;
  /** How long a call waits for an account that a daemon is just syncing, in ms. Default: twice the API's timeout. */
  readonly waitMs?: number;
  /** Where warnings go (a pino logger will do); `false`: nowhere. Default: one JSON line each on stderr. */
  readonly log?: Warnings | false;
}

/** What is asked of a logger. */
export interface Warnings {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  fatal(fields: object, message: string): void;
}

/** What is asked of a pool of `pg`, without its types. */
export interface DatabasePool {
  connect(): Promise<unknown>;
  query(config: {
    readonly text: string;
    readonly values: unknown[];
  }): Promise<{ readonly rows: unknown[] }>;
}

export interface ApiOptions {
  readonly url: string;
  /** Create path. Default `/api/customer/command`. */
  readonly path?: string;
  readonly updateMethod?: "PUT" | "PATCH" | "POST";
  /** Contains `{id}`. */
  readonly updatePath?: string;
  /** A static bearer token; or client credentials. */
  readonly token?: string;
  readonly clientId?: string;
  readonly clientSecret?: string;
  readonly tokenUrl?: string;
  readonly scope?: string;
  readonly tokenStyle?: "form" | "json";
  readonly headers?: Readonly<Record<string, string>>;
  /** Of one whole request, in ms. */
  readonly timeoutMs?: number;
  /** Requests per second, over all daemons and callers together. */
  readonly maxRps?: number;
  readonly unknownOutcome?: "park" | "resend" | "lookup";
  /** Statuses by which the API promises that it did nothing. Default 429. */
  readonly notAppliedStatuses?: readonly number[];
  readonly lookupPath?: string;
  /** Whether an account that was never sent is looked for before it is created. Default true, under `lookup`. */
  readonly lookupFirst?: boolean;
  readonly referenceField?: string;
  readonly allowedOrigins?: readonly string[];
  /** Allows http to other machines. */
  readonly insecure?: boolean;
}
