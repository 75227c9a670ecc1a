/**
 * The daemon's wiring, in reading order: builds every part, starts them, stops them in reverse.
 *
 *     starting ──migrated, connected, listening──▶ ready ──SIGTERM──▶ draining ──in flight is done──▶ stopped
 *
 * Health and metrics answer from the first moment; /readyz says what is missing. A start that fails ends at once; after a successful
 * start the daemon retries without end.
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
import { apiRoutes } from "./console/api.ts";
import { statusPageRoute } from "./console/status-page.ts";
import { consoleQueueOn } from "./console-queue.ts";
import { DaemonState } from "./daemon-state.ts";
import { explained } from "./db/explained.ts";
import { migrate } from "./db/migrate.ts";
import { connectionOptions } from "./db/own-settings.ts";
import { requireSession, sharedSession } from "./db/pooling.ts";
import { requireSameDatabase } from "./db/same-database.ts";
import { mapLaterIds, reportUnqueued, startHousekeeping, startIdTakeover } from "./housekeeping.ts";
import { toKnownObstacle } from "./obstacle.ts";
import type { OperatorError } from "./operator-error.ts";
import { createObserve } from "./ops/create-observe.ts";
import { startHttpServer } from "./ops/http.ts";
import type { Log } from "./ops/log.ts";
import type { Metrics } from "./ops/metrics.ts";
import { createMetrics } from "./ops/metrics.ts";
import type { Observe } from "./ops/observe.ts";
import { ABORT_GRACE_MS, Dispatcher } from "./queue/dispatcher.ts";
import { FoldLoop } from "./queue/fold-loop.ts";
import { Liveness, newReplicaId } from "./queue/liveness.ts";
import { ObstacleNotice } from "./queue/obstacle-notice.ts";
import { findShortShutdown, shutdownTimeouts } from "./shutdown-timeout.ts";
import { version } from "./version.ts";
import { openWiring, requireConnection } from "./wiring.ts";

export interface Daemon {
  readonly url: string;
  /** Resolves when what was in flight is done, or soon after the timeout. */
  stop(reason: string): Promise<void>;
}

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
  const replicaId = newReplicaId();
  const metrics = createMetrics({
    version,
    queueStatus: async () => {
      if (state.wiring === null) throw new Error("not connected yet");
      return await state.wiring.inspector.status();
    },
  });
  const observe = createObserve({ log, metrics });
  const state = new DaemonState(replicaId, () => observe.health());
  // What has been started is stopped in reverse, at the end as well as when the start fails halfway.
  const started = new AsyncDisposableStack();
  const http = await startHttp(config, state, metrics, observe);
  started.defer(() => http.close());

  try {
    const direct = directDatabase(config, databaseUrl);
    await requireSameDatabase({ databaseUrl, directUrl: direct.url });
    const pooling = await requireSession(direct.url, direct.setting);
    await migrateOrExplain(config, databaseUrl, direct, observe);

    const wiring = await openWiring(config, databaseUrl, observe, replicaId);
    const { clock, db, queue } = wiring;
    state.connected(wiring);
    started.defer(() => wiring.close());
    await requireConnection(wiring.connections);
    const monitor = new Monitor({
      context: checkContextOn(config, databaseUrl, db),
      onChecked: (name, findings) => observe.checked(name, findings),
      onTrouble: (error) => observe.databaseTrouble({ doing: "checking the installation", error }),
      everyMs: checkEveryMs,
    });
    state.monitored(monitor);
    started.defer(() => monitor.stop());
    await monitor.start();
    // Several pooler processes on one port can look like a session by chance, until LISTEN hears nothing.
    if (pooling === "session" && monitor.findings("listen").length > 0)
      throw sharedSession(direct.setting);

    const doorbell = new Doorbell({
      db,
      notify: config.sync.notify,
      quietPeriodMs: Math.min(config.sync.quietPeriodMs, config.sync.maxWaitMs),
      sweepIntervalMs: config.sync.sweepIntervalMs,
      now: () => clock.now(),
    });
    const { timeoutMs, createsMs } = shutdownTimeouts(config);
    const drained = Promise.withResolvers<void>();
    const dispatcher = new Dispatcher({
      clock,
      due: queue,
      run: wiring.sync,
      capacity: {
        availableInMs: () => Math.max(wiring.api.available(), wiring.connections.available()),
        usefulSends: () => Math.min(wiring.api.usefulSends(), wiring.connections.usefulSends()),
      },
      onMoreDue: () => queue.ring(),
      observe,
      concurrency: config.sync.concurrency,
      slots: wiring.slots,
      sweepIntervalMs: config.sync.sweepIntervalMs,
    });
    const foldLoop = new FoldLoop({
      clock,
      fold: () => queue.fold(),
      expand: () => queue.expand(),
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
    const liveness = new Liveness({
      db,
      connection: directConnection("liveness"),
      replicaId,
      leaseMs: queue.leaseMs,
      onTakeOver: (accounts) => {
        observe.info("A daemon is gone; its accounts are taken over", { accounts });
        // It may have left changes, too, and while it was awake no trigger rang for them.
        foldLoop.wake();
      },
      onTrouble: (error) => observe.databaseTrouble({ doing: "watching the other daemons", error }),
    });
    const listener = new Listener({
      connection: directConnection("listener"),
      observe,
      isPossibleId: wiring.source.isPossibleId,
      onWake: () => {
        doorbell.heard();
        foldLoop.wake();
      },
      onRequests: (notifications) => queue.hear(notifications, replicaId),
    });

    // Begun before anything is sent: the sooner an id is known, the less an application can lose.
    started.defer(startIdTakeover(wiring, observe));
    // Connect, listen, and only then look: no notification came for what changed before.
    started.defer(() => liveness.close());
    await liveness.start();
    const notice = new ObstacleNotice({
      db,
      replicaId,
      leaseMs: queue.leaseMs,
      findObstacle: () => state.obstacle(),
      onTrouble: (error) => observe.databaseTrouble({ doing: "noting what stops us", error }),
    });
    started.defer(() => notice.close());
    notice.start();
    started.defer(() => listener.close());
    await listener.start();
    started.defer(async () => {
      // Not waited for: a fold that a silent database does not answer must not hold up the drain.
      void foldLoop.stop();
      await dispatcher.stop(timeoutMs, createsMs);
      drained.resolve();
    });
    dispatcher.start();
    foldLoop.start();
    state.working(() => foldLoop.trouble ?? dispatcher.trouble);
    const reconcile = new Reconcile({
      clock,
      db,
      findDrift: async (known) => {
        const { drift, unmapped } = await findDrift(db, known, wiring.mapping);
        await mapLaterIds(wiring, unmapped);
        return drift;
      },
      intervalMs: config.sync.reconcileIntervalMs,
      mark: (accountIds) => queue.markAccounts(accountIds),
      onStep: (results) => observe.reconciled(results),
      onWalked: (walk) => observe.walked(walk),
      onTrouble: (error) => observe.databaseTrouble({ doing: "looking for drift", error }),
    });
    started.defer(() => reconcile.stop());
    reconcile.start();
    started.defer(startHousekeeping(wiring, observe, config.sync.historyRetentionDays));
    if (config.sync.backfillOnStart) await queue.mark("unqueued");
    else void reportUnqueued(wiring, observe);

    if (wiring.source.missing.length > 0) {
      observe.info(
        "Optional tables that this database does not have: what they would hold is sent empty",
        {
          tables: wiring.source.missing,
        },
      );
    }

    const shortShutdown = findShortShutdown(config);
    if (shortShutdown !== null) observe.warning(shortShutdown);

    state.ready();
    observe.started({ url: http.url, version });

    return {
      url: http.url,
      async stop(reason) {
        state.draining();
        notice.look();
        observe.draining(reason);
        const tooLong = async () => {
          await sleep(timeoutMs + ABORT_GRACE_MS + CLOSE_MS, undefined, { ref: false });
          if (!dispatcher.waitsForCreates) return;
          await drained.promise;
          await sleep(CLOSE_MS, undefined, { ref: false });
        };
        await Promise.race([started.disposeAsync(), tooLong()]);
        observe.stopped();
      },
    };
  } catch (error) {
    await started.disposeAsync();
    throw explained(error, databaseUrl);
  }
}

/** Health and metrics answer from here on, whatever the start is waiting for. */
async function startHttp(
  config: Config,
  state: DaemonState,
  metrics: Metrics,
  observe: ReturnType<typeof createObserve>,
) {
  const readiness = () => state.readiness();
  const routes = {
    queue: consoleQueueOn(
      () => state.wiring,
      () => state.asker(),
    ),
    process: {
      version,
      readiness,
      health: () => observe.health(),
      obstacle: () => state.obstacle(),
    },
    onError: (error: unknown) => observe.databaseTrouble({ doing: "answering the console", error }),
  };
  return await startHttpServer({
    ...config.http,
    metrics: () => metrics.scrape(),
    readiness,
    obstacle: () => {
      const now = state.obstacle();
      return now === null ? null : toKnownObstacle(now);
    },
    console: [statusPageRoute(routes), ...apiRoutes(routes)],
    onError: (error) => observe.warning("A bug answered an HTTP request", { error }),
  });
}

/** A migrate stops at the first right or column that is missing; an operator who has to repair it needs all of them. */
async function migrateOrExplain(
  config: Config,
  databaseUrl: string,
  direct: ReturnType<typeof directDatabase>,
  observe: Observe,
): Promise<void> {
  try {
    await migrate({ ...direct, info: (message) => observe.info(message) });
  } catch (error) {
    throw (await findReasons(error, config, databaseUrl)) ?? error;
  }
}

async function findReasons(
  error: unknown,
  config: Config,
  databaseUrl: string,
): Promise<OperatorError | null> {
  if (!mayFindRefusal(error)) return null;
  return await withCheckContext(config, databaseUrl, findRefusal).catch(() => null);
}
