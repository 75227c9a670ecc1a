/**
 * Reports as logs and metrics: one event is one log line and its metrics. What repeats for as long as an outage lasts is logged once, then
 * more and more rarely, and summed up when it is over (warnings.ts, database-troubles.ts); the counters always count all of it.
 */
import { CHECK_EFFECTS, type CheckName } from "../checks/names.ts";
import type { Diagnosis } from "../operator-error.ts";
import type { CountByEntity, Entity, OutcomeName } from "../sync/outcome.ts";
import { createDatabaseTroubles } from "./database-troubles.ts";
import type { CircuitState } from "./labels.ts";
import type { Log } from "./log.ts";
import type { LogFields } from "./log-fields.ts";
import { type Metrics, setCheck, setCircuitState } from "./metrics.ts";
import type { Health, Observe, Run } from "./observe.ts";
import { createWarnings } from "./warnings.ts";

const LEVEL_OF_OUTCOME: Readonly<Record<OutcomeName, "info" | "warn" | "error">> = {
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
  const warnings = createWarnings({ log, now });
  const databaseTroubles = createDatabaseTroubles({ log, now });

  const findingsSaid = new Map<CheckName, readonly Diagnosis[]>();

  let listener: Health["listener"] = "down";
  let isListenerDownSaid = false;
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

      const level = run.isExpected === true ? "info" : LEVEL_OF_OUTCOME[outcome];
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
      isListenerDownSaid = false;
      log.info({}, "listening for notifications");
    },

    listenerDown(reason) {
      metrics.listenerUp.set(0);
      listener = "down";
      if (isListenerDownSaid) return;

      isListenerDownSaid = true;
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

    idsMended({ accountId, restored, followed }) {
      metrics.idsRestored.inc(restored);
      const counts = { account_id: accountId, restored, followed };
      if (restored > 0) log.warn(counts, "external ids were missing in the database: put back");
      if (followed > 0)
        log.warn(counts, "rows have other external ids than were known: the rows' ids are used");
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
      const isIn = (list: readonly Diagnosis[], { problem }: Diagnosis) =>
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
