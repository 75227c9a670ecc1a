/**
 * The one vocabulary of logs and metrics: domain code says what happened, wording and labels are in this folder.
 *
 * One method per event, one event is one log line and its metrics. What repeats for as long as an outage lasts is said once,
 * then ever more rarely, and summed up when it is over; the counters always count all of it.
 */

import type { Drift } from "../capture/drift.ts";
import type { Walk } from "../capture/reconcile.ts";
import { CHECK_EFFECTS, type CheckName, type Finding } from "../checks/names.ts";
import type { WarningRule } from "../customer-command/validation-rules.ts";
import type {
  CountByEntity,
  Entity,
  ErrorClass,
  FailedRows,
  OutcomeName,
  Trigger,
} from "../sync/outcome.ts";
import type { Log, LogFields } from "./log.ts";
import { type Metrics, setCheck, setCircuitState } from "./metrics.ts";

export interface Observe {
  started(at: { readonly url: string; readonly version: string }): void;
  draining(reason: string): void;
  stopped(): void;
  /** Changes moved from the change table into the account rows. */
  folded(fold: { readonly changes: number; readonly accounts: number }): void;
  /** A sync came to its end: one log line, the runs, updated and failed counters, duration and lag. */
  ran(run: Run): void;
  /** A command was validated. Its warnings are counted by rule, however often it comes to be validated. */
  validated(command: {
    readonly accountId: string;
    readonly warnings: readonly { readonly field: string; readonly rule: WarningRule }[];
  }): void;
  /** Reconcile has looked at some accounts; null: no drift. */
  reconciled(results: readonly (Drift | null)[]): void;
  /** Reconcile has been through all of them. */
  walked(walk: Walk): void;
  apiRequest(request: {
    readonly operation: "create" | "update" | "delete" | "lookup" | "token";
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
  unknownOutcome(accountId: string): void;
  /** The API has made a customer that stands on no row: its create had been given up, or it made two of one. */
  strayCustomer(customer: {
    readonly accountId: string;
    readonly stray: "given up" | "made twice";
  }): void;
  /** Our right to work on the account went to somebody else; what we had was thrown away. */
  leaseLost(accountId: string): void;
  /** The database failed us; we keep trying. Logs code, constraint, table and column, never message or detail. */
  databaseTrouble(trouble: { readonly doing: string; readonly error: unknown }): void;
  databaseBack(): void;
  /** One check's latest look. A finding is said when it appears and when it is gone, however often it is looked at. */
  checked(name: CheckName, findings: readonly Finding[]): void;
  /** Something to know that fits none of the above; `fields` hold no personal data. */
  warning(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

export type CircuitState = "closed" | "open" | "half_open";

export type ApiRequestResult =
  | "ok"
  | "partial"
  | "rejected"
  | "unauthorized"
  | "throttled"
  | "server_error"
  | "timeout"
  | "network";

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

/** Warnings of one kind in a minute; the rest of that minute is counted, and is in the log at level debug. */
const warningsPerMinute = 30;
const minuteMs = 60_000;

const troubleFirstRepeatMs = 60_000;
const troubleRepeatMaxMs = 15 * 60_000;
/** Kinds of trouble are few (what we were doing × error code); the bound is for the day that turns out wrong. */
const troubleKindsMax = 100;

type Level = "debug" | "info" | "warn" | "error";

const levelOfOutcome: Readonly<Record<OutcomeName, Level>> = {
  synced: "info",
  unchanged: "info",
  gone: "info",
  partial: "warn",
  retry: "warn",
  blocked: "warn",
  parked: "error",
};

export function createObserve({
  log,
  metrics,
  now = () => performance.now(),
}: {
  readonly log: Log;
  readonly metrics: Omit<Metrics, "scrape">;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
}): Observe & { health(): Health } {
  const warnings = createWarningLimit({ log, now });
  const databaseTroubles = createTroubleLog({ log, now });

  const findingsSaid = new Map<CheckName, readonly Finding[]>();

  let listener: Health["listener"] = "down";
  let listenerDownSaid = false;
  let circuit: CircuitState = "closed";
  let circuitOpenedAt = now();

  return {
    health: () => ({ listener, circuit }),

    started({ url, version }) {
      log.info({ url, version }, "started");
    },

    draining(reason) {
      log.info({ reason }, "draining: finishing what is in flight, taking nothing new");
    },

    stopped() {
      log.info({}, "stopped");
    },

    folded({ changes, accounts }) {
      metrics.changes.inc(toAmount(changes));
      log.debug({ changes, accounts }, "changes folded");
    },

    ran(run) {
      const { outcome, trigger, errorClass } = run;

      warnings.sumUp();
      metrics.runs.inc({ outcome, trigger });
      metrics.runDuration.observe(toSeconds(run.durationMs));
      if (outcome === "synced") metrics.lag.observe(toSeconds(run.lagMs));
      for (const [entity, count] of entriesOf(run.updated)) {
        metrics.updated.inc({ entity }, toAmount(count));
      }
      for (const { entity, reason, count } of run.failed) {
        metrics.failed.inc({ entity, reason }, toAmount(count));
      }

      const level = run.isExpected === true ? "info" : levelOfOutcome[outcome];
      const text = `account ${outcome}`;
      if (level === "warn") warnings.warn(`${outcome} ${errorClass}`, toRunLine(run), text);
      else log[level](toRunLine(run), text);
    },

    validated({ accountId, warnings: found }) {
      for (const { rule } of found) metrics.validationWarnings.inc({ rule });
      if (found.length === 0) return;
      const fields = found.map(({ field, rule }) => `${field}: ${rule}`);
      log.debug({ account_id: accountId, fields }, "validated, with warnings");
    },

    reconciled(results) {
      for (const drift of results) metrics.reconciledAccounts.inc({ result: drift ?? "same" });
    },

    walked({ lookedAt, drifted, durationMs }) {
      log.info(
        { accounts: lookedAt, ...drifted, duration_ms: toMs(durationMs) },
        "reconciled: looked for accounts that drifted",
      );
      if (drifted.customer_missing > 0)
        log.warn(
          { accounts: drifted.customer_missing },
          "Accounts have no external id any more, although the API took them once: put their uuid_be back, or have them created anew with `account-sync reconcile`",
        );
    },

    apiRequest({ operation, result, durationMs }) {
      metrics.apiRequests.inc({ operation, result });
      metrics.apiRequestDuration.observe({ operation }, toSeconds(durationMs));
      log.debug({ operation, result, duration_ms: toMs(durationMs) }, "request to the API");
    },

    circuit(state, reason) {
      const before = circuit;
      circuit = state;
      setCircuitState(metrics, state);

      if (state === before) return;
      if (state === "closed") {
        const open_seconds = Math.round((now() - circuitOpenedAt) / 1_000);
        log.info({ reason, open_seconds }, "circuit closed: sending again");
      } else if (before === "closed") {
        circuitOpenedAt = now();
        log.warn({ reason, state }, "circuit open: nothing is sent until the API answers again");
      } else {
        // The probes of an outage that lasts: open, half open, open …
        log.debug({ reason, state }, "circuit probing");
      }
    },

    listenerUp() {
      metrics.listenerUp.set(1);
      if (listener === "up") return;

      listener = "up";
      listenerDownSaid = false;
      log.info({}, "listening for notifications");
    },

    listenerDown(reason) {
      metrics.listenerUp.set(0);
      listener = "down";
      if (listenerDownSaid) return;

      listenerDownSaid = true;
      log.warn({ reason }, "not listening: changes wait for the sweep; reconnecting");
    },

    listenerReconnected() {
      metrics.listenerReconnects.inc();
      log.debug({}, "listener reconnected");
    },

    listenerRoundTrip(seconds) {
      metrics.listenerRoundTrip.set(toAmount(seconds));
    },

    notificationIgnored({ reason, length }) {
      metrics.notificationsIgnored.inc();
      warnings.warn("notification", { reason, length }, "notification ignored");
    },

    idConflict({ accountId, entity }) {
      metrics.idConflicts.inc();
      log.warn(
        { account_id: accountId, entity },
        "the API answered another external id than the row has; the row keeps its own",
      );
    },

    strayCustomer({ accountId, stray }) {
      log.warn(
        { account_id: accountId },
        stray === "made twice"
          ? "The API made two customers of one create; both ids are in account_sync.attempt"
          : "A create was answered after it had been given up: the API has a customer that stands on no row; its id is in account_sync.attempt",
      );
    },

    unknownOutcome(accountId) {
      metrics.unknownOutcomes.inc();
      log.warn(
        { account_id: accountId },
        "the answer to a create never came: the customer may or may not exist",
      );
    },

    leaseLost(accountId) {
      metrics.leasesLost.inc();
      warnings.warn(
        "lease",
        { account_id: accountId },
        "lease lost: another worker has the account, our result was thrown away",
      );
    },

    databaseTrouble({ doing, error }) {
      databaseTroubles.happened(doing, error);
    },

    databaseBack() {
      databaseTroubles.over();
    },

    checked(check, findings) {
      const before = findingsSaid.get(check) ?? [];
      const isIn = (list: readonly Finding[], { problem }: Finding) =>
        list.some((other) => other.problem === problem);
      const level = CHECK_EFFECTS[check] === "warns" ? "warn" : "error";

      setCheck(metrics, check, findings.length === 0);
      findingsSaid.set(check, findings);
      for (const finding of findings.filter((each) => !isIn(before, each))) {
        log[level]({ check, remedy: finding.remedy }, `check ${check}: ${finding.problem}`);
      }
      for (const finding of before.filter((each) => !isIn(findings, each))) {
        log.info({ check }, `check ${check}, no longer: ${finding.problem}`);
      }
    },

    warning(message, fields = {}) {
      warnings.warn(message, fields, message);
    },

    info(message, fields = {}) {
      log.info(fields, message);
    },
  };
}

function toRunLine(run: Run): LogFields {
  return {
    account_id: run.accountId,
    outcome: run.outcome,
    trigger: run.trigger,
    attempt: run.attempt,
    lag_ms: toMs(run.lagMs),
    duration_ms: toMs(run.durationMs),
    http_status: run.httpStatus,
    error_class: run.errorClass,
    error: run.error,
  };
}

/**
 * Lets the first warnings of a kind through and counts the others until the minute is over. There is no timer: the sum is
 * said with the next warning or the next run, and after an outage a next one comes.
 */
function createWarningLimit({ log, now }: { readonly log: Log; readonly now: () => number }) {
  const said = new Map<string, number>();
  const unsaid = new Map<string, number>();
  let minuteStartedAt = now();

  return {
    warn(kind: string, fields: LogFields, message: string): void {
      sumUp();

      // Kinds come from our own words, but `warning` takes any text; beyond this many they share one count.
      const counted = said.has(kind) || said.size < troubleKindsMax ? kind : "other";
      const lines = (said.get(counted) ?? 0) + 1;
      said.set(counted, lines);

      if (lines <= warningsPerMinute) {
        log.warn(fields, message);
        return;
      }
      unsaid.set(counted, (unsaid.get(counted) ?? 0) + 1);
      log.debug(fields, message);
    },

    sumUp,
  };

  function sumUp(): void {
    if (now() - minuteStartedAt < minuteMs) return;

    for (const [kind, lines] of unsaid) {
      log.warn({ kind, lines }, "more warnings of this kind were left out");
    }
    said.clear();
    unsaid.clear();
    minuteStartedAt = now();
  }
}

/**
 * Database trouble of one kind is said at once, again after a minute, after two, after four, at most every quarter of an
 * hour. A kind keeps its silence when the database was back in between, or one bad row among good ones would fill the log.
 */
function createTroubleLog({ log, now }: { readonly log: Log; readonly now: () => number }) {
  interface Kind {
    quietUntil: number;
    repeatMs: number;
    unsaid: number;
  }

  const kinds = new Map<string, Kind>();
  let outage: { readonly since: number; failures: number; said: boolean } | null = null;

  return {
    happened(doing: string, error: unknown): void {
      outage ??= { since: now(), failures: 0, said: false };
      outage.failures += 1;

      const name = `${doing} ${toCode(error)}`;
      const kind = kinds.get(name);
      if (kind !== undefined && now() < kind.quietUntil) {
        kind.unsaid += 1;
        log.debug({ doing, err: error }, "database trouble");
        return;
      }

      outage.said = true;
      log.warn(
        { doing, err: error, repeated: kind?.unsaid ?? 0 },
        "database trouble, trying again",
      );
      remember(name, kind);
    },

    over(): void {
      if (outage === null) return;

      const { since, failures, said } = outage;
      outage = null;
      if (!said) return;

      const seconds = Math.round((now() - since) / 1_000);
      log.info({ failures, seconds }, "the database answers again");
    },
  };

  function remember(name: string, before: Kind | undefined): void {
    // Long silence between two troubles means that they are two stories, and the second starts from the beginning.
    const continues = before !== undefined && now() < before.quietUntil + before.repeatMs;
    const repeatMs = continues
      ? Math.min(before.repeatMs * 2, troubleRepeatMaxMs)
      : troubleFirstRepeatMs;

    kinds.delete(name);
    kinds.set(name, { quietUntil: now() + repeatMs, repeatMs, unsaid: 0 });

    const oldest = kinds.keys().next().value;
    if (kinds.size > troubleKindsMax && oldest !== undefined) kinds.delete(oldest);
  }
}

function toCode(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === "string" ? code : error.name;
}

function entriesOf(counts: CountByEntity): readonly (readonly [Entity, number])[] {
  return [
    ["account", counts.account],
    ["tier", counts.tier],
    ["pic", counts.pic],
  ];
}

/** Counters refuse what is negative or not a number by throwing, and nothing here may throw into a sync. */
function toAmount(value: number): number {
  return Number.isFinite(value) && value > 0 ? value : 0;
}

/** Lag is measured on the database's clock, which may be set back. */
function toSeconds(ms: number): number {
  return toAmount(ms) / 1_000;
}

function toMs(ms: number): number {
  return Math.round(ms);
}
