/**
 * Writes down what stops this daemon from sending, for those who ask in another process.
 *
 * Looks at what the parts know in memory, twice a second, and writes only when that has changed: no send waits for it, and what cannot be
 * written is written at the next look.
 */
import type { Queryable } from "../db/database.ts";
import type { Stop, StoppedBy } from "./stop.ts";

export interface StopNoticeOptions {
  readonly db: Queryable;
  readonly replicaId: number;
  readonly leaseMs: number;
  /** What stops us now; null for nothing. */
  readonly findStop: () => Stop | null;
  readonly onTrouble: (error: unknown) => void;
}

export interface NotedStop {
  readonly by: StoppedBy;
  readonly reason: string;
  readonly since: Date;
  readonly until: Date | null;
}

const LOOK_EVERY_MS = 500;
/** An end that moved by less is the same: it is computed anew at every look. */
const SAME_END_MS = 250;
const REASON_MAX = 500;

export class StopNotice {
  readonly #options: StopNoticeOptions;
  #timer: NodeJS.Timeout | undefined;
  #current: NotedStop | null = null;
  /** What the row says; undefined before anything was written, or when that may have failed. */
  #written: NotedStop | null | undefined;
  #writing: Promise<void> | null = null;

  constructor(options: StopNoticeOptions) {
    this.#options = options;
  }

  start(): void {
    // A new row says that nothing stops us.
    this.#written = null;
    this.#timer = setInterval(() => {
      this.current();
      this.#writing ??= this.#write().finally(() => {
        this.#writing = null;
      });
    }, LOOK_EVERY_MS);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#writing;
  }

  /** What stops us now, and since when. */
  current(): NotedStop | null {
    const stop = this.#options.findStop();
    if (stop === null) {
      this.#current = null;
      return null;
    }
    const now = Date.now();
    const before = this.#current;
    const found: NotedStop = {
      by: stop.by,
      reason: stop.reason.slice(0, REASON_MAX) || stop.by,
      since: before?.by === stop.by ? before.since : new Date(now),
      until: stop.forMs === null ? null : new Date(now + stop.forMs),
    };
    if (before === null || !isSame(before, found)) this.#current = found;
    return this.#current;
  }

  async #write(): Promise<void> {
    const stop = this.#current;
    if (this.#written !== undefined && isSame(this.#written, stop)) return;
    const { db, replicaId, leaseMs, onTrouble } = this.#options;
    const now = Date.now();
    try {
      await db.run("note_stop", [
        replicaId,
        leaseMs,
        stop?.by ?? null,
        stop === null ? null : now - stop.since.getTime(),
        stop === null || stop.until === null ? null : stop.until.getTime() - now,
        stop?.reason ?? null,
      ]);
      this.#written = stop;
    } catch (error) {
      this.#written = undefined;
      onTrouble(error);
    }
  }
}

function isSame(a: NotedStop | null, b: NotedStop | null): boolean {
  if (a === null || b === null) return a === b;
  return (
    a.by === b.by &&
    a.reason === b.reason &&
    a.since.getTime() === b.since.getTime() &&
    Math.abs((a.until?.getTime() ?? 0) - (b.until?.getTime() ?? 0)) < SAME_END_MS
  );
}
