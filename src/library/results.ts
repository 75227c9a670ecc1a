/** What the library's functions resolve with: plain objects that survive JSON. Types only. */
import type { CustomerCommand } from "../customer-command/command.ts";

/** What is wrong with what was handed in, or with the command made of it. */
export interface Finding {
  /** Path in the command (`tier[0].max_amount`), or in the input where it has no shape to make a command of. */
  readonly field: string;
  readonly rule: string;
  /** Names field and rule, never the value. */
  readonly message: string;
}

export interface ValidationResult {
  readonly isValid: boolean;
  readonly errors: readonly Finding[];
  readonly warnings: readonly Finding[];
  readonly summary: { readonly totalErrors: number; readonly totalWarnings: number };
}

/**
 * One of these, by `success` and what stands beside it. `error`, `validationResult` and `processingResult` can be read of any of them, and
 * are undefined where they are not there; whether there are `details` is asked by `"details" in result`.
 */
export type SyncResult =
  | (SyncedResult & Without<"mode" | "error" | "validationResult">)
  | (NotValidResult & Without<"mode" | "processingResult">)
  | (RefusedResult & Without<"mode" | "validationResult" | "processingResult">)
  | (DatabaseResult & Without<"mode" | "validationResult" | "processingResult">);

/** Keys that are never there. */
export type Without<Key extends string> = { readonly [Name in Key]?: undefined };

/** The API took the command. Whether all ids stand, `processingResult` tells. */
export interface SyncedResult {
  readonly success: true;
  /** What the API answered, as JSON; null where it had no body. */
  readonly response: unknown;
  /** The command as it was sent. */
  readonly customerData: CustomerCommand;
  readonly processingResult: ProcessingResult;
}

/** Nothing was sent. */
export interface NotValidResult {
  readonly success: false;
  /** Begins with `Validation failed: `. */
  readonly error: string;
  readonly validationResult: ValidationResult;
  /** null where the input has no shape to make a command of. */
  readonly customerData: CustomerCommand | null;
}

export interface RefusedResult {
  readonly success: false;
  /** Begins with `External API Error: `, and goes on with what the API said. */
  readonly error: string;
  /** The API's own error (its code, field errors, trace id, …), masked and bounded, with what we know of the request. */
  readonly details: RefusalDetails & Readonly<Record<string, unknown>>;
  readonly customerData: CustomerCommand;
}

export interface RefusalDetails {
  readonly httpStatus: number | null;
  readonly errorClass: string;
  /** `not_sent`, `not_applied`, or `unknown`: it may have been applied, and the journal keeps it from being sent twice. */
  readonly delivery: "not_sent" | "not_applied" | "unknown" | null;
  /** The API asked to be left alone for so long. */
  readonly retryAfterMs: number | null;
  /** As the history has it: which request, its status, what the API said, and what to do. */
  readonly explanation: string;
}

/** The database failed before anything was sent, or another process had the account for all the time that was waited. */
export interface DatabaseResult {
  readonly success: false;
  /** Begins with `Database Error: `; of a function that was imported as it is, also with `Configuration Error: `. */
  readonly error: string;
  /** null where the environment is wrong, so that no command can be made. */
  readonly customerData: CustomerCommand | null;
}

/** What became of the ids that the API gave out. All that `retryFailedUpdates` needs. */
export interface ProcessingResult {
  /** All of them stand. */
  readonly success: boolean;
  /** Why nothing at all was written; absent otherwise. */
  readonly error?: string;
  /** Of each section of which something was written. */
  readonly updatedRecords: readonly UpdatedRecord[];
  /** One sentence per section that failed: `Failed to update tier UUID: …`. */
  readonly errors: readonly string[];
  readonly summary: {
    /** Sections written whole: customer, tier, crew. */
    readonly totalUpdated: number;
    readonly totalErrors: number;
  };
  /** Ids that came and do not stand; absent when there is none. */
  readonly failedUpdates?: readonly FailedUpdate[];
}

export type UpdatedRecord = CustomerRecord | RowsRecord;

export interface CustomerRecord {
  readonly success: boolean;
  readonly type: "customer";
  readonly accountId: string;
  readonly uuidBe: string | null;
  /** ISO 8601. */
  readonly updatedAt: string;
}

export type RowsRecord = SectionRecord<"tier", TierDetail> | SectionRecord<"crew", PicDetail>;

interface SectionRecord<Type, Detail> {
  /** False for a section that is half written. */
  readonly success: boolean;
  readonly type: Type;
  readonly updatedCount: number;
  readonly failedCount: number;
  readonly details: readonly Detail[];
}

export interface TierDetail extends RowDetail {
  readonly tierId: string;
}

export interface PicDetail extends RowDetail {
  readonly picId: string;
}

interface RowDetail {
  readonly success: boolean;
  /** null where no id came. */
  readonly uuidBe: string | null;
  readonly error?: string;
}

export interface FailedUpdate {
  readonly type: "customer" | "branch" | "tier" | "crew";
  /** The row's primary key. */
  readonly id: string;
  readonly uuidBe: string;
  /** Of the send that the id came for, where the database could not be told. */
  readonly idempotencyKey?: string;
}
