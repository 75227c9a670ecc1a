/**
 * What the daemon says about itself while it starts, runs and drains: whether it is ready (docs/adr/0017-what-ready-means.md), and what stops
 * its sends.
 */
import type { Monitor } from "./checks/monitor.ts";
import { errorCode } from "./db/error-code.ts";
import type { Obstacle } from "./obstacle.ts";
import type { Health } from "./ops/observe.ts";
import type { LoopTrouble } from "./queue/loop.ts";
import type { Asker } from "./queue/sending.ts";
import type { Wiring } from "./wiring.ts";

export class DaemonState {
  readonly #replicaId: number;
  readonly #health: () => Health;
  #phase: "starting" | "ready" | "draining" = "starting";
  #drainingSinceMs = 0;
  #wiring: Wiring | null = null;
  #monitor: Pick<Monitor, "reasons"> | null = null;
  #trouble: () => LoopTrouble | null = () => null;

  constructor(replicaId: number, health: () => Health) {
    this.#replicaId = replicaId;
    this.#health = health;
  }

  /** null until the daemon is connected. */
  get wiring(): Wiring | null {
    return this.#wiring;
  }

  connected(wiring: Wiring): void {
    this.#wiring = wiring;
  }

  monitored(monitor: Pick<Monitor, "reasons">): void {
    this.#monitor = monitor;
  }

  /** @param trouble why the queue is not worked off at present; null while it is */
  working(trouble: () => LoopTrouble | null): void {
    this.#trouble = trouble;
  }

  ready(): void {
    this.#phase = "ready";
  }

  draining(): void {
    this.#phase = "draining";
    this.#drainingSinceMs = performance.now();
  }

  /** Why it is not ready; empty when it is. */
  readiness(): string[] {
    if (this.#phase !== "ready")
      return [this.#phase === "starting" ? "starting: not migrated and connected yet" : "draining"];
    const trouble = this.#trouble();
    const isRefused =
      this.#wiring !== null && findDefaultObstacle(this.#wiring, trouble)?.by === "unauthorized";
    return [
      ...(this.#health().listener === "down"
        ? ["the listener is not connected to the database"]
        : []),
      ...(this.#monitor?.reasons() ?? []),
      ...(trouble === null ? [] : [toReason(trouble.error)]),
      ...(isRefused ? [REFUSED] : []),
    ];
  }

  /** What stops its sends; null for nothing. */
  obstacle(): Obstacle | null {
    // Worse than anything else: it does not pass.
    if (this.#phase === "draining") {
      const sinceMs = this.#drainingSinceMs;
      return { by: "draining", reason: "it is stopping", sinceMs, untilMs: null };
    }
    if (this.#wiring === null) return null;
    return (
      findDefaultObstacle(this.#wiring, this.#trouble()) ?? this.#wiring.api.findCommonObstacle()
    );
  }

  /** The daemon that asks who sends; null while it does not belong to the senders. */
  asker(): Asker | null {
    return this.#phase === "starting"
      ? null
      : { replicaId: this.#replicaId, obstacle: this.obstacle() };
  }
}

/**
 * Caused by this deployment, unlike an API that is down, so a rollout stops here (docs/adr/0017-what-ready-means.md). /readyz is open to
 * every caller, so it does not contain texts of the API.
 */
const REFUSED =
  "the API refuses our credentials: correct them (`account-sync doctor` tests them), and restart the daemon unless they are in m_backend_ext_config";

/**
 * What stops what is sent by default. Not a row of m_backend_ext_config that was asked for, for some accounts: that is not this
 * deployment's doing, and makes no daemon unready.
 */
function findDefaultObstacle(
  { connections, api }: Pick<Wiring, "connections" | "api">,
  trouble: LoopTrouble | null,
): Obstacle | null {
  if (trouble !== null) {
    const { error, sinceMs } = trouble;
    return { by: "queue_trouble", reason: toReason(error), sinceMs, untilMs: null };
  }
  const used = connections.lastDefault();
  return connections.findObstacle() ?? (used === null ? null : api.findObstacle(used.configId));
}

/**
 * Why nothing is taken from the queue at present. After an uninstall the daemon stays, and goes on after the next migrate: if it left, its
 * supervisor would start it again, and the start would bring back what was removed on purpose.
 */
function toReason(error: unknown): string {
  const code = errorCode(error);
  // 3F000: no such schema, 42P01: no such table. The loop touches no tables but ours.
  return code === "3F000" || code === "42P01"
    ? "schema account_sync is gone from the database: run `account-sync migrate`, or stop this daemon"
    : `the queue cannot be worked on${code === null ? "" : ` (${code})`}`;
}
