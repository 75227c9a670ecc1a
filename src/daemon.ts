/**
 * The daemon's wiring, in reading order: builds every part, starts them, stops them in reverse.
 *
 *     starting ──migrated, connected, listening──▶ ready ──SIGTERM──▶ draining ──in flight is done──▶ stopped
 *
 * Health and metrics answer from the first moment; /readyz says what is missing. A start that fails fails at once; once it has
 * been up, the daemon is patient for ever.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Doorbell } from "./capture/doorbell.ts";
import { findDrift } from "./capture/drift.ts";
import { Listener } from "./capture/listener.ts";
import { Reconcile } from "./capture/reconcile.ts";
import { checkContextOn, withCheckContext } from "./check-context.ts";
import { Monitor } from "./checks/monitor.ts";
import { findRefusal, mayFindRefusal } from "./checks/refusal.ts";
import { type Config, directDatabase } from "./config.ts";
import {
  type AccountStatus,
  apiRoutes,
  type ConsoleQueue,
  type HistoryRow,
} from "./console/api.ts";
import { statusPageRoute } from "./console/status-page.ts";
import { connectionOptions, errorCode } from "./db/database.ts";
import { explained } from "./db/explained.ts";
import { migrate } from "./db/migrate.ts";
import { requireSession, sharedSession } from "./db/pooling.ts";
import { requireSameDatabase } from "./db/same-database.ts";
import { type Obstacle, toKnownObstacle } from "./obstacle.ts";
import type { OperatorError } from "./operator-error.ts";
import { startHttpServer } from "./ops/http.ts";
import type { Log } from "./ops/log.ts";
import { createMetrics } from "./ops/metrics.ts";
import { createObserve, type Observe } from "./ops/observe.ts";
import { findSending, openParts, type Parts, requireConnection } from "./parts.ts";
import { ABORT_GRACE_MS, Dispatcher } from "./queue/dispatcher.ts";
import { FoldLoop } from "./queue/fold-loop.ts";
import type { LoopTrouble } from "./queue/loop.ts";
import { ObstacleNotice } from "./queue/obstacle-notice.ts";
import { newReplicaId, Presence } from "./queue/presence.ts";
import type { Asker } from "./queue/sending.ts";
import { wakeForgottenChildren } from "./sync/wake-children.ts";
import { version } from "./version.ts";

export interface Daemon {
  readonly url: string;
  /** Resolves when what was in flight is done, or soon after the timeout. */
  stop(reason: string): Promise<void>;
}

/** Housekeeping: old history, what was heard, what a process that died did not get to say. */
const KEEP_HOUSE_EVERY_MS = 60_000;
/**
 * What closing may take once the drain is over. A statement that a silent database does not answer would keep its pool open for another
 * half a minute, and a container's grace is no longer than that.
 */
const CLOSE_MS = 3_000;

export interface Timing {
  /** How often what was checked at the start is checked again. Default an hour. */
  readonly checkEveryMs?: number;
}

/** @throws OperatorError with what to do */
export async function startDaemon(
  config: Config,
  databaseUrl: string,
  log: Log,
  { checkEveryMs }: Timing = {},
): Promise<Daemon> {
  let parts: Parts | null = null;
  let watch: Monitor | null = null;
  let trouble: () => LoopTrouble | null = () => null;
  let phase: "starting" | "ready" | "draining" = "starting";
  let drainingSinceMs: number | null = null;
  const replicaId = newReplicaId();

  const queueStatus = async () => {
    if (parts === null) throw new Error("not connected yet");
    return await parts.inspector.status();
  };
  const metrics = createMetrics({ version, queueStatus });
  const observe = createObserve({ log, metrics });

  const readiness = () => {
    if (phase !== "ready")
      return [phase === "starting" ? "starting: not migrated and connected yet" : "draining"];
    const now = trouble();
    return [
      ...(observe.health().listener === "down"
        ? ["the listener is not connected to the database"]
        : []),
      ...(watch?.reasons() ?? []),
      ...(now === null ? [] : [toReason(now.error)]),
      ...(parts !== null && findDefaultObstacle(parts, now)?.by === "unauthorized"
        ? [REFUSED]
        : []),
    ];
  };
  const obstacle = (): Obstacle | null => {
    // Worse than anything else: it does not pass.
    if (drainingSinceMs !== null)
      return { by: "draining", reason: DRAINING, sinceMs: drainingSinceMs, untilMs: null };
    return parts === null ? null : findObstacle(parts, trouble());
  };
  const about = { version, readiness, health: () => observe.health(), obstacle };
  const onError = (error: unknown) =>
    observe.databaseTrouble({ doing: "answering the console", error });
  const consoleQueue = consoleQueueOn(
    () => parts,
    () => (phase === "starting" ? null : { replicaId, obstacle: obstacle() }),
  );
  // What has been started is stopped in reverse, at the end as well as when the start fails halfway.
  const started = new AsyncDisposableStack();
  const http = await startHttpServer({
    ...config.http,
    metrics: () => metrics.scrape(),
    readiness,
    obstacle: () => {
      const now = obstacle();
      return now === null ? null : toKnownObstacle(now);
    },
    console: [
      statusPageRoute({ queue: consoleQueue, process: about, onError }),
      ...apiRoutes({ queue: consoleQueue, process: about, onError }),
    ],
    onError: (error) => observe.warning("A bug answered an HTTP request", { error }),
  });

  started.defer(() => http.close());

  try {
    const direct = directDatabase(config, databaseUrl);
    await requireSameDatabase({ databaseUrl, directUrl: direct.url });
    const pooling = await requireSession(direct.url, direct.setting);
    await migrate({ ...direct, info: (message) => observe.info(message) }).catch(
      async (error: unknown) => {
        throw (await findReasons(error, config, databaseUrl)) ?? error;
      },
    );

    const opened = await openParts(config, databaseUrl, observe, replicaId);
    parts = opened;
    started.defer(() => opened.close());
    await requireConnection(opened.connections);
    const watching = new Monitor({
      context: checkContextOn(config, databaseUrl, opened.db),
      onChecked: (name, findings) => observe.checked(name, findings),
      onTrouble: (error) => observe.databaseTrouble({ doing: "checking the installation", error }),
      everyMs: checkEveryMs,
    });
    watch = watching;
    started.defer(() => watching.stop());
    await watching.start();
    // Several pooler processes on one port can look like a session by chance, until LISTEN hears nothing.
    if (pooling === "session" && watching.findings("listen").length > 0)
      throw sharedSession(direct.setting);

    const doorbell = new Doorbell({
      db: opened.db,
      notify: config.sync.notify,
      sweepIntervalMs: config.sync.sweepIntervalMs,
      now: () => opened.clock.now(),
    });
    const dispatcher = new Dispatcher({
      clock: opened.clock,
      due: opened.queue,
      run: opened.sync,
      capacity: {
        availableInMs: () => Math.max(opened.api.available(), opened.connections.available()),
        slots: () => Math.min(opened.api.slots(), opened.connections.slots()),
      },
      onMoreDue: () => opened.queue.ring(),
      observe,
      concurrency: config.sync.concurrency,
      sweepIntervalMs: config.sync.sweepIntervalMs,
    });
    const foldLoop = new FoldLoop({
      clock: opened.clock,
      queue: opened.queue,
      doorbell,
      onDue: () => dispatcher.wake(),
      observe,
      sweepIntervalMs: config.sync.sweepIntervalMs,
    });
    const directConnection = (role: string) =>
      connectionOptions({
        url: direct.url,
        applicationName: `account-sync ${version} ${role}`,
        settingsPerTransaction: pooling !== "none",
        synchronousCommit: "on",
      });
    const presence = new Presence({
      db: opened.db,
      connection: directConnection("presence"),
      replicaId,
      leaseMs: opened.queue.leaseMs,
      onTakeOver: (accounts) => {
        observe.info("A daemon is gone; its accounts are taken over", { accounts });
        dispatcher.wake();
      },
      onTrouble: (error) => observe.databaseTrouble({ doing: "watching the other daemons", error }),
    });
    const listener = new Listener({
      connection: directConnection("listener"),
      observe,
      isPossibleId: opened.source.isPossibleId,
      onWake: () => {
        doorbell.heard();
        foldLoop.wake();
      },
      onRequests: (notifications) => opened.queue.hear(notifications, replicaId),
    });

    // Connect, listen, and only then look: what changed before was rung for nobody.
    started.defer(() => presence.close());
    await presence.start();
    const notice = new ObstacleNotice({
      db: opened.db,
      replicaId,
      leaseMs: opened.queue.leaseMs,
      findObstacle: obstacle,
      onTrouble: (error) => observe.databaseTrouble({ doing: "noting what stops us", error }),
    });
    started.defer(() => notice.close());
    notice.start();
    started.defer(() => listener.close());
    await listener.start();
    started.defer(async () => {
      // Not waited for: a fold that a silent database does not answer must not hold up the drain.
      void foldLoop.stop();
      await dispatcher.stop(config.sync.shutdownTimeoutMs);
    });
    dispatcher.start();
    foldLoop.start();
    trouble = () => foldLoop.trouble ?? dispatcher.trouble;
    const reconcile = new Reconcile({
      clock: opened.clock,
      db: opened.db,
      findDrift: (known) => findDrift(opened.db, known, opened.mapping),
      intervalMs: config.sync.reconcileIntervalMs,
      mark: (accountIds) => opened.queue.markAccounts(accountIds),
      onStep: (results) => observe.reconciled(results),
      onWalked: (walk) => observe.walked(walk),
      onTrouble: (error) => observe.databaseTrouble({ doing: "looking for drift", error }),
    });
    started.defer(() => reconcile.stop());
    reconcile.start();
    // At once, too: the one who died may have been our predecessor.
    void keepHouse(opened, config, observe);
    const housekeeping = setInterval(
      () => void keepHouse(opened, config, observe),
      KEEP_HOUSE_EVERY_MS,
    );
    started.defer(() => clearInterval(housekeeping));
    if (config.sync.backfillOnStart) await opened.queue.mark("unqueued");
    else void tellUnqueued(opened, observe);

    if (opened.source.missing.length > 0) {
      observe.info(
        "Optional tables that this database does not have: what they would hold is sent empty",
        {
          tables: opened.source.missing,
        },
      );
    }

    phase = "ready";
    observe.started({ url: http.url, version });

    return {
      url: http.url,
      async stop(reason) {
        phase = "draining";
        drainingSinceMs = performance.now();
        notice.look();
        observe.draining(reason);
        const closesWithinMs = config.sync.shutdownTimeoutMs + ABORT_GRACE_MS + CLOSE_MS;
        await Promise.race([
          started.disposeAsync(),
          sleep(closesWithinMs, undefined, { ref: false }),
        ]);
        observe.stopped();
      },
    };
  } catch (error) {
    await started.disposeAsync();
    throw explained(error, databaseUrl);
  }
}

/**
 * Caused by this deployment, unlike an API that is down, so a rollout stops here (docs/adr/0017-what-ready-means.md). /readyz is open to
 * every caller, so it does not contain texts of the API.
 */
const REFUSED =
  "the API refuses our credentials: correct them (`account-sync doctor` tests them), and restart the daemon unless they are in m_backend_ext_config";

const DRAINING = "it was told to leave";

/** What stops this daemon's sends; null for nothing. */
function findObstacle(parts: Parts, trouble: LoopTrouble | null): Obstacle | null {
  return findDefaultObstacle(parts, trouble) ?? parts.api.findCommonObstacle();
}

/**
 * What stops what is sent by default. Not a row of m_backend_ext_config that was asked for, for some accounts: that is not this
 * deployment's doing, and makes no daemon unready.
 */
function findDefaultObstacle(
  { connections, api }: Pick<Parts, "connections" | "api">,
  trouble: LoopTrouble | null,
): Obstacle | null {
  if (trouble !== null) {
    const { error, sinceMs } = trouble;
    return { by: "queue_trouble", reason: toReason(error), sinceMs, untilMs: null };
  }
  const used = connections.lastDefault();
  return connections.findObstacle() ?? (used === null ? null : api.findObstacle(used.configId));
}

/** A migrate stops at the first right or column that is missing; whoever has to repair it wants to know all of them. */
async function findReasons(
  error: unknown,
  config: Config,
  databaseUrl: string,
): Promise<OperatorError | null> {
  if (!mayFindRefusal(error)) return null;
  return await withCheckContext(config, databaseUrl, findRefusal).catch(() => null);
}

/**
 * Why nothing is taken from the queue at present. After an uninstall the daemon stays, and goes on when somebody has migrated again: if
 * it left, whoever supervises it would start it, and the start would bring back what was removed on purpose.
 */
function toReason(error: unknown): string {
  const code = errorCode(error);
  // 3F000: no such schema, 42P01: no such table. The loop touches no tables but ours.
  return code === "3F000" || code === "42P01"
    ? "schema account_sync is gone from the database: run `account-sync migrate`, or stop this daemon"
    : `the queue cannot be worked on${code === null ? "" : ` (${code})`}`;
}

/** Accounts from before the first migrate are not sent by themselves; somebody should know how many there are. */
async function tellUnqueued(parts: Parts, observe: Observe): Promise<void> {
  try {
    const count = await parts.inspector.countUnqueued();
    if (count === 0) return;
    observe.info(
      "Accounts from before the first migrate are not sent until they change; to send them: `account-sync backfill`",
      {
        accounts: count,
      },
    );
  } catch (error) {
    observe.databaseTrouble({ doing: "counting accounts", error });
  }
}

async function keepHouse(parts: Parts, config: Config, observe: Observe): Promise<void> {
  try {
    await parts.queue.forget(config.sync.historyRetentionDays);
    // Parked for an unknown outcome, and answered after all: a process died between the two.
    await parts.queue.reviveAnswered("all");
    // Blocked, and the parent has its id: the same.
    await wakeForgottenChildren(parts);
  } catch (error) {
    observe.databaseTrouble({ doing: "keeping house", error });
  }
}

function consoleQueueOn(parts: () => Parts | null, asker: () => Asker | null): ConsoleQueue {
  const opened = () => {
    const now = parts();
    if (now === null) throw new Error("not connected yet");
    return now;
  };
  return {
    status: async () => await opened().inspector.status(),
    sending: async () => await findSending(opened(), asker()),
    accounts: async (page) => await opened().inspector.accounts<AccountStatus>(page),
    account: async (id) => await opened().inspector.account<AccountStatus, HistoryRow>(id),
    request: async (id, how) => await opened().queue.request([id], how),
    retry: async (which) =>
      await opened().queue.retry({
        ids: "ids" in which ? which.ids : null,
        errorClass: "errorClass" in which ? which.errorClass : null,
      }),
  };
}
