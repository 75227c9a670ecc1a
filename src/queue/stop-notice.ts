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
  readonly isDefault: boolean;
}

/** In monotonic milliseconds: the wall clock may jump, and the row is told how long ago and for how long. */
interface Found {
  readonly by: StoppedBy;
  readonly reason: string;
  readonly sinceMs: number;
  readonly untilMs: number | null;
  readonly isDefault: boolean;
}

const LOOK_EVERY_MS = 500;
/** An end that moved by less is the same: it is computed anew at every look. */
const SAME_END_MS = 250;
/** While something stops us: our row may have been made anew meanwhile, by a take-over or with the schema. */
const WRITE_AGAIN_AFTER_MS = 10_000;
const REASON_MAX = 500;

export class StopNotice {
  readonly #options: StopNoticeOptions;
  #timer: NodeJS.Timeout | undefined;
  #found: Found | null = null;
  /** What the row says; undefined before anything was written, or when that may have failed. */
  #written: Found | null | undefined;
  #writtenAt = 0;
  #writing: Promise<void> | null = null;

  constructor(options: StopNoticeOptions) {
    this.#options = options;
  }

  start(): void {
    // A new row says that nothing stops us.
    this.#written = null;
    this.#timer = setInterval(() => {
      const found = this.#look();
      this.#writing ??= this.#write(found).finally(() => {
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
    const found = this.#look();
    if (found === null) return null;
    const { by, reason, sinceMs, untilMs, isDefault } = found;
    const toDate = (ms: number) => new Date(Date.now() + ms - performance.now());
    const until = untilMs === null ? null : toDate(untilMs);
    return { by, reason, since: toDate(sinceMs), until, isDefault };
  }

  #look(): Found | null {
    const stop = this.#options.findStop();
    if (stop === null) {
      this.#found = null;
      return null;
    }
    const now = performance.now();
    const before = this.#found;
    const found: Found = {
      by: stop.by,
      reason: stop.reason.slice(0, REASON_MAX) || stop.by,
      sinceMs: before?.by === stop.by ? before.sinceMs : now,
      untilMs: stop.forMs === null ? null : now + stop.forMs,
      isDefault: stop.isDefault,
    };
    if (!isSame(before, found)) this.#found = found;
    return this.#found;
  }

  async #write(found: Found | null): Promise<void> {
    const now = performance.now();
    const isOld = found !== null && now - this.#writtenAt >= WRITE_AGAIN_AFTER_MS;
    if (this.#written !== undefined && isSame(this.#written, found) && !isOld) return;
    const { db, replicaId, leaseMs, onTrouble } = this.#options;
    try {
      await db.run("note_stop", [
        replicaId,
        leaseMs,
        found?.by ?? null,
        found === null ? null : now - found.sinceMs,
        found === null || found.untilMs === null ? null : found.untilMs - now,
        found?.reason ?? null,
      ]);
      this.#written = found;
      this.#writtenAt = now;
    } catch (error) {
      this.#written = undefined;
      onTrouble(error);
    }
  }
}

function isSame(a: Found | null, b: Found | null): boolean {
  if (a === null || b === null) return a === b;
  return (
    a.by === b.by &&
    a.reason === b.reason &&
    a.isDefault === b.isDefault &&
    a.sinceMs === b.sinceMs &&
    Math.abs((a.untilMs ?? 0) - (b.untilMs ?? 0)) < SAME_END_MS
  );
}
