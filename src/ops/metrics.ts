/**
 * Every metric of the daemon under its fixed name, in a registry of its own, and the scrape.
 *
 * Only this file knows prom-client. All label values stand at 0 from the start, so that a rate over a series that has never
 * been touched is 0 and not "no data"; an account id is never a label.
 */

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Drift } from "../capture/drift.ts";
import { CHECK_EFFECTS, type CheckName } from "../checks/names.ts";
import type { WarningRule } from "../customer-command/validation-rules.ts";
import type { Entity, ErrorClass, OutcomeName, Trigger } from "../sync/outcome.ts";
import type { ApiRequestResult, CircuitState, Observe } from "./observe.ts";

/** A scrape waits this long for the queue's numbers, then goes out with the last known ones. */
const queueTimeoutMs = 2_000;
/** Two Prometheus servers and a console asking at once are one question to the database. */
const queueCacheMs = 1_000;
/** A question without an answer for this long (a blackholed socket) is given up, so that a new one can be asked. */
const queueAbandonMs = 30_000;

const entities = everyOne<Entity>({ account: true, tier: true, pic: true });

const errorClasses = everyOne<ErrorClass>({
  validation: true,
  rejected: true,
  unauthorized: true,
  throttled: true,
  server: true,
  network: true,
  timeout: true,
  incomplete: true,
  unknown_outcome: true,
  database: true,
  id_conflict: true,
});

const outcomes = everyOne<OutcomeName>({
  synced: true,
  partial: true,
  unchanged: true,
  gone: true,
  blocked: true,
  retry: true,
  parked: true,
});

const warningRules = everyOne<WarningRule>({
  recommended: true,
  ktp_length: true,
  npwp_length: true,
  amount_absent: true,
  date_absent: true,
  tier_overlap: true,
  username_twice: true,
  account_type_missing: true,
});

const triggers = everyOne<Trigger>({ change: true, manual: true, backfill: true });

const operations = everyOne<ApiOperation>({
  create: true,
  update: true,
  delete: true,
  lookup: true,
  token: true,
});

const apiResults = everyOne<ApiRequestResult>({
  ok: true,
  partial: true,
  rejected: true,
  unauthorized: true,
  throttled: true,
  server_error: true,
  timeout: true,
  network: true,
});

const reconcileResults = everyOne<Drift | "same">({
  same: true,
  changed: true,
  ids_missing: true,
  customer_missing: true,
});

const circuitStates = everyOne<CircuitState>({ closed: true, open: true, half_open: true });

const pendingStates = everyOne<PendingState>({
  waiting: true,
  due: true,
  running: true,
  retrying: true,
  parked: true,
  blocked: true,
});

export type PendingState = "waiting" | "due" | "running" | "retrying" | "parked" | "blocked";

export interface QueueStatus {
  readonly byState: Readonly<Record<PendingState, number>>;
  readonly oldestPendingSeconds: number;
  /** How old it was when it was given; nothing says that it was read just now. */
  readonly readMsAgo?: number;
}

type ApiOperation = Parameters<Observe["apiRequest"]>[0]["operation"];

export type Metrics = ReturnType<typeof createMetrics>;

export function createMetrics(options: {
  readonly version: string;
  readonly queueStatus: () => Promise<QueueStatus>;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
}) {
  const registry = new Registry();
  const metrics = registerMetrics(registry);
  const refreshQueueGauges = createQueueReader({
    ask: options.queueStatus,
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
  collectDefaultMetrics({ register: registry });

  return {
    ...metrics,

    /**
     * Never waits longer than two seconds and never fails because of the database. Scrapes that come together are one: a thousand of
     * them, each some milliseconds of work, would all begin with the same answer of the database and keep everything else waiting.
     */
    scrape(): Promise<{ readonly contentType: string; readonly body: string }> {
      scraping ??= scrapeOnce().finally(() => {
        scraping = null;
      });
      return scraping;
    },
  };
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
  for (const entity of entities) {
    metrics.updated.inc({ entity }, 0);
    for (const reason of errorClasses) metrics.failed.inc({ entity, reason }, 0);
  }

  for (const outcome of outcomes) {
    for (const trigger of triggers) metrics.runs.inc({ outcome, trigger }, 0);
  }

  for (const result of reconcileResults) metrics.reconciledAccounts.inc({ result }, 0);
  for (const rule of warningRules) metrics.validationWarnings.inc({ rule }, 0);

  for (const operation of operations) {
    metrics.apiRequestDuration.zero({ operation });
    for (const result of apiResults) metrics.apiRequests.inc({ operation, result }, 0);
  }

  for (const state of pendingStates) metrics.pendingAccounts.set({ state }, 0);
  for (const check of Object.keys(CHECK_EFFECTS) as CheckName[]) setCheck(metrics, check, true);
  setCircuitState(metrics, "closed");
}

/** Severity stands beside the check, so that an alert need not know which checks only warn. */
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
  for (const state of circuitStates) metrics.circuitState.set({ state }, state === current ? 1 : 0);
}

/**
 * The queue gauges are asked for when a scrape comes. One question at a time: while the database hangs, every scrape waits
 * its two seconds on the same question, and no pile of queries builds up behind it.
 */
function createQueueReader({
  ask,
  gauges,
  now,
}: {
  readonly ask: () => Promise<QueueStatus>;
  readonly gauges: RegisteredMetrics;
  readonly now: () => number;
}): () => Promise<void> {
  let question: Promise<void> | null = null;
  let askedAt = Number.NEGATIVE_INFINITY;
  let knownAt = now();

  return async function refreshQueueGauges(): Promise<void> {
    if (question !== null && now() - askedAt >= queueAbandonMs) question = null;
    if (question === null && now() - askedAt >= queueCacheMs) question = startQuestion();
    if (question !== null) await doneWithin(question, queueTimeoutMs);

    gauges.queueStatusAge.set(Math.max(0, now() - knownAt) / 1_000);
  };

  function startQuestion(): Promise<void> {
    askedAt = now();

    const asked = readQueue().finally(() => {
      if (question === asked) question = null;
    });
    return asked;
  }

  /** A failure is no news here: it was reported where the database was asked, and the age of the numbers shows it. */
  async function readQueue(): Promise<void> {
    try {
      const status = await ask();

      for (const state of pendingStates) {
        gauges.pendingAccounts.set({ state }, Number(status.byState[state]));
      }
      gauges.oldestPending.set(Number(status.oldestPendingSeconds));
      knownAt = now() - (status.readMsAgo ?? 0);
    } catch {
      return;
    }
  }
}

function doneWithin(work: Promise<void>, limitMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, limitMs);

    void work.finally(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** The compiler complains when a value of the union is missing here. */
function everyOne<Value extends string>(values: Readonly<Record<Value, true>>): readonly Value[] {
  return Object.keys(values) as Value[];
}
