/**
 * Writes down what stops this daemon from sending, for `status` and the console, which run in other processes.
 *
 * Looks at what the parts know in memory, once a second, and writes when that has changed: no send waits for it, and what cannot be
 * written is written at the next look. It also writes every ten seconds when nothing has changed: a process that is stopped or hangs keeps
 * its lock, and is told from one that works by its silence (src/queue/sending.ts).
 */
import type { Queryable } from "../db/database.ts";
import type { Obstacle } from "../obstacle.ts";

export interface ObstacleNoticeOptions {
  readonly db: Queryable;
  readonly replicaId: number;
  readonly leaseMs: number;
  /** What stops us now; null for nothing. */
  readonly findObstacle: () => Obstacle | null;
  readonly onTrouble: (error: unknown) => void;
  /** Default one second. */
  readonly lookEveryMs?: number;
  /** Default ten seconds. */
  readonly writeAgainAfterMs?: number;
}

const LOOK_EVERY_MS = 1_000;
/** A time that moved by less is the same: the wait that all daemons share is read from the database again and again. */
const SAME_TIME_MS = 250;
/** Also because our row may have been made anew meanwhile, by a take-over or with the schema. */
const WRITE_AGAIN_AFTER_MS = 10_000;
const REASON_MAX = 500;

export class ObstacleNotice {
  readonly #options: ObstacleNoticeOptions;
  #timer: NodeJS.Timeout | undefined;
  /** What the row says; undefined before anything was written, or when that may have failed. */
  #written: Obstacle | null | undefined;
  #writtenAt = 0;
  #writing: Promise<void> | null = null;

  constructor(options: ObstacleNoticeOptions) {
    this.#options = options;
  }

  start(): void {
    // A new row says that nothing stops us, and has just been written.
    this.#written = null;
    this.#writtenAt = performance.now();
    const { lookEveryMs = LOOK_EVERY_MS } = this.#options;
    this.#timer = setInterval(() => this.look(), lookEveryMs);
  }

  /** For what others should know at once. */
  look(): void {
    this.#writing ??= this.#write(this.#options.findObstacle()).finally(() => {
      this.#writing = null;
    });
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#writing;
  }

  async #write(obstacle: Obstacle | null): Promise<void> {
    const now = performance.now();
    const { db, replicaId, leaseMs, onTrouble } = this.#options;
    const { writeAgainAfterMs = WRITE_AGAIN_AFTER_MS } = this.#options;
    const isOld = now - this.#writtenAt >= writeAgainAfterMs;
    if (this.#written !== undefined && isSame(this.#written, obstacle) && !isOld) return;
    try {
      // Told as how long ago and for how long: the clock that rules in the row is the database's.
      await db.run("note_obstacle", [
        replicaId,
        leaseMs,
        obstacle?.by ?? null,
        obstacle === null ? null : now - obstacle.sinceMs,
        obstacle === null || obstacle.untilMs === null ? null : obstacle.untilMs - now,
        obstacle === null ? null : obstacle.reason.slice(0, REASON_MAX) || obstacle.by,
      ]);
      this.#written = obstacle;
      this.#writtenAt = now;
    } catch (error) {
      this.#written = undefined;
      onTrouble(error);
    }
  }
}

function isSame(a: Obstacle | null, b: Obstacle | null): boolean {
  if (a === null || b === null) return a === b;
  return (
    a.by === b.by &&
    a.reason === b.reason &&
    isSameTime(a.sinceMs, b.sinceMs) &&
    isSameTime(a.untilMs, b.untilMs)
  );
}

function isSameTime(a: number | null, b: number | null): boolean {
  if (a === null || b === null) return a === b;
  return Math.abs(a - b) < SAME_TIME_MS;
}
