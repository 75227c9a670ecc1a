/**
 * Every metric of the daemon under its fixed name, in a registry of its own, and the scrape.
 *
 * Only this file knows prom-client. All label values stand at 0 from the start, so that a rate over a series that has never
 * been touched is 0 and not "no data"; an account id is never a label.
 */
import { performance as nodePerformance } from "node:perf_hooks";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { CHECK_EFFECTS, type CheckName } from "../checks/names.ts";
import { ERROR_CLASSES } from "../sync/outcome.ts";
import {
  API_OPERATIONS,
  API_REQUEST_RESULTS,
  CIRCUIT_STATES,
  type CircuitState,
  ENTITIES,
  OUTCOMES,
  PENDING_STATES,
  RECONCILE_RESULTS,
  TRIGGERS,
  WARNING_RULES,
} from "./labels.ts";
import { createQueueGauges, type QueueStatus } from "./queue-gauges.ts";

export type Metrics = ReturnType<typeof createMetrics>;

export function createMetrics(options: {
  readonly version: string;
  readonly queueStatus: () => Promise<QueueStatus>;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
}) {
  const registry = new Registry();
  const metrics = registerMetrics(registry);
  const refreshQueueGauges = createQueueGauges({
    read: options.queueStatus,
    gauges: metrics,
    now: options.now ?? (() => performance.now()),
  });

  let scraping: Promise<{ readonly contentType: string; readonly body: string }> | null = null;

  async function scrapeOnce() {
    await refreshQueueGauges();
    return { contentType: registry.contentType, body: await registry.metrics() };
  }

  startAtZero(metrics);
  metrics.buildInfo.set({ version: options.version }, 1);
  registerProcessMetrics(registry);

  return {
    ...metrics,

    /**
     * Never waits longer than two seconds and never fails because of the database. Scrapes that come together are one: a thousand of
     * them, each some milliseconds of work, would all start when the database answers, and keep everything else waiting.
     */
    scrape(): Promise<{ readonly contentType: string; readonly body: string }> {
      scraping ??= scrapeOnce().finally(() => {
        scraping = null;
      });
      return scraping;
    },
  };
}

/** The longest that a timer takes: never. */
const NEVER_MS = 2 ** 31 - 1;

/**
 * What prom-client measures of the process, without its histogram of the event loop's delays: that wakes the process a hundred times a second,
 * which was three quarters of an idle daemon's processor time. How busy the loop is costs nothing to know.
 */
function registerProcessMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: NEVER_MS });
  for (const { name } of registry.getMetricsAsArray())
    if (/^nodejs_eventloop_lag_(?!seconds$)/.test(name)) registry.removeSingleMetric(name);

  let before = nodePerformance.eventLoopUtilization();
  new Gauge({
    name: "account_sync_event_loop_utilization",
    help: "Share of the time since the last scrape in which the event loop was busy; at 1 a process can do no more",
    registers: [registry],
    collect() {
      const now = nodePerformance.eventLoopUtilization();
      this.set(nodePerformance.eventLoopUtilization(now, before).utilization);
      before = now;
    },
  });
}

function registerMetrics(registry: Registry) {
  const registers = [registry];

  return {
    updated: new Counter({
      name: "account_sync_updated_total",
      help: "Rows whose external id was written or confirmed",
      labelNames: ["entity"],
      registers,
    }),
    failed: new Counter({
      name: "account_sync_failed_total",
      help: "Rows whose external id could not be written, by error class",
      labelNames: ["entity", "reason"],
      registers,
    }),
    runs: new Counter({
      name: "account_sync_runs_total",
      help: "Syncs that came to an end",
      labelNames: ["outcome", "trigger"],
      registers,
    }),
    runDuration: new Histogram({
      name: "account_sync_run_duration_seconds",
      help: "One sync from claim to settled",
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120],
      registers,
    }),
    lag: new Histogram({
      name: "account_sync_lag_seconds",
      help: "First change of an account until its ids were written",
      buckets: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400, 86_400],
      registers,
    }),
    changes: new Counter({
      name: "account_sync_changes_total",
      help: "Captured changes folded into the queue",
      registers,
    }),
    reconciledAccounts: new Counter({
      name: "account_sync_reconciled_accounts_total",
      help: "Accounts that reconcile looked at, by what it found",
      labelNames: ["result"] as const,
      registers: [registry],
    }),
    validationWarnings: new Counter({
      name: "account_sync_validation_warnings_total",
      help: "Warnings of validated commands, by rule; a command that is tried again counts again",
      labelNames: ["rule"],
      registers,
    }),
    pendingAccounts: new Gauge({
      name: "account_sync_pending_accounts",
      help: "Accounts in the queue by state; the same number on every replica, so take max, not sum",
      labelNames: ["state"],
      registers,
    }),
    oldestPending: new Gauge({
      name: "account_sync_oldest_pending_seconds",
      help: "Age of the oldest change that has not reached the API; the same on every replica",
      registers,
    }),
    queueStatusAge: new Gauge({
      name: "account_sync_queue_status_age_seconds",
      help: "Since when pending_accounts and oldest_pending_seconds are the last known ones; grows while the database is away",
      registers,
    }),
    apiRequests: new Counter({
      name: "account_sync_api_requests_total",
      help: "Requests to the customer API and its token endpoint",
      labelNames: ["operation", "result"],
      registers,
    }),
    apiRequestDuration: new Histogram({
      name: "account_sync_api_request_duration_seconds",
      help: "Requests to the customer API, from the first byte sent to the answer read",
      labelNames: ["operation"],
      // The API may take two minutes, which is also the default of CUSTOMER_API_TIMEOUT_MS.
      buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120],
      registers,
    }),
    listenerUp: new Gauge({
      name: "account_sync_listener_up",
      help: "1 while LISTEN is in place; 0 means changes wait for the sweep",
      registers,
    }),
    listenerRoundTrip: new Gauge({
      name: "account_sync_listener_roundtrip_seconds",
      help: "Last NOTIFY to ourselves until it came back",
      registers,
    }),
    listenerReconnects: new Counter({
      name: "account_sync_listener_reconnects_total",
      help: "Times the LISTEN connection had to be made anew",
      registers,
    }),
    notificationsIgnored: new Counter({
      name: "account_sync_notifications_ignored_total",
      help: "NOTIFY payloads that were neither an account id nor a request",
      registers,
    }),
    leasesLost: new Counter({
      name: "account_sync_leases_lost_total",
      help: "Syncs thrown away because another worker had taken the account over",
      registers,
    }),
    circuitState: new Gauge({
      name: "account_sync_circuit_state",
      help: "1 for the state the circuit breaker of this process is in",
      labelNames: ["state"],
      registers,
    }),
    unknownOutcomes: new Counter({
      name: "account_sync_unknown_outcomes_total",
      help: "Creates whose answer never came: the customer may or may not exist",
      registers,
    }),
    idsRestored: new Counter({
      name: "account_sync_ids_restored_total",
      help: "External ids put back into rows that had lost them",
      registers,
    }),
    idConflicts: new Counter({
      name: "account_sync_id_conflicts_total",
      help: "Answers with another external id than the row already has; the row keeps its own",
      registers,
    }),
    checkOk: new Gauge({
      name: "account_sync_check_ok",
      help: "1 unless the last look of this check found something wrong; start-up checks, repeated every hour",
      labelNames: ["check", "severity"],
      registers,
    }),
    buildInfo: new Gauge({
      name: "account_sync_build_info",
      help: "1, labelled with the running version",
      labelNames: ["version"],
      registers,
    }),
  };
}

type RegisteredMetrics = ReturnType<typeof registerMetrics>;

function startAtZero(metrics: RegisteredMetrics): void {
  for (const entity of ENTITIES) {
    metrics.updated.inc({ entity }, 0);
    for (const reason of ERROR_CLASSES) metrics.failed.inc({ entity, reason }, 0);
  }

  for (const outcome of OUTCOMES) {
    for (const trigger of TRIGGERS) metrics.runs.inc({ outcome, trigger }, 0);
  }

  for (const result of RECONCILE_RESULTS) metrics.reconciledAccounts.inc({ result }, 0);
  for (const rule of WARNING_RULES) metrics.validationWarnings.inc({ rule }, 0);

  for (const operation of API_OPERATIONS) {
    metrics.apiRequestDuration.zero({ operation });
    for (const result of API_REQUEST_RESULTS) metrics.apiRequests.inc({ operation, result }, 0);
  }

  for (const state of PENDING_STATES) metrics.pendingAccounts.set({ state }, 0);
  for (const check of Object.keys(CHECK_EFFECTS) as CheckName[]) setCheck(metrics, check, true);
  setCircuitState(metrics, "closed");
}

/** The severity is a label beside the check, so that an alert need not know which checks only warn. */
export function setCheck(
  metrics: Pick<RegisteredMetrics, "checkOk">,
  check: CheckName,
  isOk: boolean,
): void {
  const severity = CHECK_EFFECTS[check] === "warns" ? "warning" : "failure";
  metrics.checkOk.set({ check, severity }, isOk ? 1 : 0);
}

/** Exactly one state stands at 1. */
export function setCircuitState(
  metrics: Pick<RegisteredMetrics, "circuitState">,
  current: CircuitState,
): void {
  for (const state of CIRCUIT_STATES)
    metrics.circuitState.set({ state }, state === current ? 1 : 0);
}
