/** Reads the queue for people: counts, states, histories. Writes nothing. */
import type { Queryable } from "../db/database.ts";
import type { PendingState } from "../ops/labels.ts";
import type { QueueStatus } from "../ops/queue-gauges.ts";

/** Counting a million accounts takes a second: it is done for at most a twentieth of the time, however often it is asked for. */
const COUNTING_SHARE = 20;
/** Where an answer took long because the network was away, the count was not dear, and is not kept for minutes. */
const COUNTED_KEPT_MAX_MS = 30_000;
/** Accounts that one page looks at for those in its state: some milliseconds. */
const EXAMINED_MAX = 10_000;

/** States that few accounts are in, with an index to find them by. */
const KEPT_BACK: ReadonlySet<string | null> = new Set(["parked", "retrying", "blocked"]);

/** @param now monotonic milliseconds */
export function createInspector(db: Queryable, now: () => number = () => performance.now()) {
  let counted: Counted | null = null;
  let counting: Promise<Counted> | null = null;

  return {
    /** The last count, where another one would take more than a twentieth of the time; kept for half a minute at most. */
    async status(): Promise<QueueStatus & { readonly readMsAgo: number }> {
      if (counting === null && counted !== null && now() < counted.keptUntil)
        return toAged(counted);
      counting ??= count().finally(() => {
        counting = null;
      });
      counted = await counting;
      return toAged(counted);
    },

    async accounts<Row extends { readonly account_id: string }>(page: {
      readonly state: string | null;
      readonly cursor: string | null;
      readonly limit: number;
    }): Promise<{ accounts: Row[]; nextCursor: string | null }> {
      if (KEPT_BACK.has(page.state)) {
        const accounts = await db.run<Row>("list_kept_back_accounts", [
          page.state,
          page.cursor,
          page.limit,
        ]);
        return {
          accounts,
          nextCursor: accounts.length < page.limit ? null : (accounts.at(-1)?.account_id ?? null),
        };
      }

      const examinedMax = page.state === null ? page.limit : EXAMINED_MAX;
      const rows = await db.run<ExaminedRow<Row>>("list_accounts", [
        page.state,
        page.cursor,
        page.limit,
        examinedMax,
      ]);
      const { lastExamined = null, examined = 0 } = rows[0] ?? {};
      const accounts = rows.flatMap(({ lastExamined: _, examined: __, ...row }) =>
        row.account_id === null ? [] : [row as unknown as Row],
      );
      const stoppedAt = examined < examinedMax ? null : lastExamined;
      return {
        accounts,
        nextCursor:
          accounts.length < page.limit ? stoppedAt : (accounts.at(-1)?.account_id ?? null),
      };
    },

    /** One account's state and its last attempts, newest first; null when the queue does not know it. */
    async account<Status, Attempt>(
      id: string,
      attempts = 20,
    ): Promise<(Status & { history: Attempt[] }) | null> {
      const [status] = await db.run<Status>("account_status", [id]);
      if (status === undefined) return null;
      return { ...status, history: await db.run<Attempt>("account_history", [id, attempts]) };
    },

    async countUnqueued(): Promise<number> {
      const [row] = await db.run<{ count: number }>("count_unqueued");
      return row?.count ?? 0;
    },

    /** What is left of the backfill lane. */
    async backfill(): Promise<{ unfolded: number; pending: number }> {
      const [row] = await db.run<{ unfolded: number; pending: number }>("count_backfill");
      return row ?? { unfolded: 0, pending: 0 };
    },
  };

  async function count(): Promise<Counted> {
    const begunAt = now();
    const counts = await db.run<{ state: PendingState; count: number }>("count_pending");
    const [oldest] = await db.run<{ seconds: number }>("oldest_pending");
    const byState: Record<PendingState, number> = {
      waiting: 0,
      due: 0,
      running: 0,
      retrying: 0,
      parked: 0,
      blocked: 0,
    };
    for (const { state, count } of counts) byState[state] = count;
    const endedAt = now();
    const keptMs = Math.min((endedAt - begunAt) * COUNTING_SHARE, COUNTED_KEPT_MAX_MS);
    return {
      status: { byState, oldestPendingSeconds: oldest?.seconds ?? 0 },
      begunAt,
      keptUntil: endedAt + keptMs,
    };
  }

  function toAged({ status, begunAt }: Counted): QueueStatus & { readonly readMsAgo: number } {
    return { ...status, readMsAgo: now() - begunAt };
  }
}

interface Counted {
  readonly status: QueueStatus;
  /** The numbers may have been read as early as this; their answer may have been long on its way. */
  readonly begunAt: number;
  readonly keptUntil: number;
}

type ExaminedRow<Row> = { readonly lastExamined: string | null; readonly examined: number } & (
  | Row
  | { readonly account_id: null }
);
