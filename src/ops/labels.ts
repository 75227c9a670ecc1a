/** The values that the labels of the metrics can have. All of them are known, so that every series can stand at 0 from the start. */
import type { Drift } from "../capture/drift.ts";
import type { WarningRule } from "../customer-command/validation-rules.ts";
import type { Entity, OutcomeName, Trigger } from "../sync/outcome.ts";

/** Of the worst circuit of this process. */
export type CircuitState = "closed" | "open" | "half_open";

export type ApiOperation = "create" | "update" | "delete" | "lookup" | "token";

export type ApiRequestResult =
  | "ok"
  | "partial"
  | "rejected"
  | "unauthorized"
  | "throttled"
  | "server_error"
  | "timeout"
  | "network";

/** States of an account that is not done. */
export type PendingState = "waiting" | "due" | "running" | "retrying" | "parked" | "blocked";

export const ENTITIES = everyOne<Entity>({ account: true, tier: true, pic: true });

export const OUTCOMES = everyOne<OutcomeName>({
  synced: true,
  partial: true,
  unchanged: true,
  gone: true,
  blocked: true,
  retry: true,
  parked: true,
});

export const WARNING_RULES = everyOne<WarningRule>({
  recommended: true,
  ktp_length: true,
  npwp_length: true,
  amount_absent: true,
  date_absent: true,
  tier_overlap: true,
  username_twice: true,
  account_type_missing: true,
});

export const TRIGGERS = everyOne<Trigger>({ change: true, manual: true, backfill: true });

export const API_OPERATIONS = everyOne<ApiOperation>({
  create: true,
  update: true,
  delete: true,
  lookup: true,
  token: true,
});

export const API_REQUEST_RESULTS = everyOne<ApiRequestResult>({
  ok: true,
  partial: true,
  rejected: true,
  unauthorized: true,
  throttled: true,
  server_error: true,
  timeout: true,
  network: true,
});

export const RECONCILE_RESULTS = everyOne<Drift | "same">({
  same: true,
  changed: true,
  ids_missing: true,
  customer_missing: true,
});

export const CIRCUIT_STATES = everyOne<CircuitState>({ closed: true, open: true, half_open: true });

export const PENDING_STATES = everyOne<PendingState>({
  waiting: true,
  due: true,
  running: true,
  retrying: true,
  parked: true,
  blocked: true,
});

/** The compiler complains when a value of the union is missing here. */
function everyOne<Value extends string>(values: Readonly<Record<Value, true>>): readonly Value[] {
  return Object.keys(values) as Value[];
}
