/**
 * What happens, in one vocabulary: the other parts report it, and the words and labels of logs and metrics are in this folder
 * (create-observe.ts). One method per event. Types only.
 */
import type { Drift } from "../capture/drift.ts";
import type { Walk } from "../capture/reconcile.ts";
import type { CheckName } from "../checks/names.ts";
import type { WarningRule } from "../customer-command/validation-rules.ts";
import type { Diagnosis } from "../operator-error.ts";
import type {
  CountByEntity,
  Entity,
  ErrorClass,
  FailedRows,
  OutcomeName,
  Trigger,
} from "../sync/outcome.ts";
import type { ApiOperation, ApiRequestResult, CircuitState } from "./labels.ts";

export interface Observe {
  started(at: { readonly url: string; readonly version: string }): void;
  draining(reason: string): void;
  stopped(): void;
  /** Changes moved from the change table into the account rows. */
  folded(fold: { readonly changes: number; readonly accounts: number }): void;
  /** A sync has ended: one log line, the counters of runs and of updated and failed rows, duration and lag. */
  ran(run: Run): void;
  /** A command was validated. Its warnings are counted by rule, each time that it is validated. */
  validated(command: {
    readonly accountId: string;
    readonly warnings: readonly { readonly field: string; readonly rule: WarningRule }[];
  }): void;
  /** Reconcile has looked at some accounts; null: no drift. */
  reconciled(results: readonly (Drift | null)[]): void;
  /** Reconcile has looked at all accounts. */
  walked(walk: Walk): void;
  apiRequest(request: {
    readonly operation: ApiOperation;
    readonly result: ApiRequestResult;
    readonly durationMs: number;
  }): void;
  circuit(state: CircuitState, reason: string): void;
  listenerUp(): void;
  listenerDown(reason: string): void;
  listenerReconnected(): void;
  listenerRoundTrip(seconds: number): void;
  /** A NOTIFY payload that is neither an id nor a request. Never logs the payload itself. */
  notificationIgnored(notification: { readonly reason: string; readonly length: number }): void;
  idConflict(conflict: { readonly accountId: string; readonly entity: Entity }): void;
  /** Ids were put back into rows that had lost them; or rows had other ids than the mapping, which follows them. */
  idsMended(mended: {
    readonly accountId: string;
    readonly restored: number;
    readonly followed: number;
  }): void;
  unknownOutcome(accountId: string): void;
  /** The API has a customer whose id is in no row: its create had been given up, or the API made two customers of one create. */
  strayCustomer(customer: {
    readonly accountId: string;
    readonly stray: "given up" | "made twice";
  }): void;
  /** Another worker has the lease of the account; our result was thrown away. */
  leaseLost(accountId: string): void;
  /** The database failed, and what was being done is tried again. Logs code, constraint, table and column, never message or detail. */
  databaseTrouble(trouble: { readonly doing: string; readonly error: unknown }): void;
  databaseBack(): void;
  /** What one check has found. A finding is logged when it appears and when it is gone, and not each time that it is found. */
  checked(name: CheckName, findings: readonly Diagnosis[]): void;
  /** What fits none of the above; `fields` hold no personal data. */
  warning(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

export interface Run {
  readonly accountId: string;
  readonly outcome: OutcomeName;
  readonly trigger: Trigger;
  /** 1 for the first try of a round. */
  readonly attempt: number;
  readonly durationMs: number;
  /** First change → now, on the database's clock. */
  readonly lagMs: number;
  readonly httpStatus: number | null;
  readonly errorClass: ErrorClass | null;
  readonly error: string | null;
  readonly updated: CountByEntity;
  readonly failed: readonly FailedRows[];
  /** Resolves itself in normal operation, so it is not a warning: a parent on its way, a row that is locked for a moment. */
  readonly isExpected?: boolean;
}

/** What the console shows of this process beside the queue. */
export interface Health {
  readonly listener: "up" | "down";
  readonly circuit: CircuitState;
}
