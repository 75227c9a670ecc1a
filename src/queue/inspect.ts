/** Reads the queue for people: counts, states, histories. Writes nothing. */
import type { Queryable } from "../db/database.ts";
import type { PendingState } from "../ops/metrics.ts";

export function createInspector(db: Queryable) {
  return {
    async status() {
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
      return { byState, oldestPendingSeconds: oldest?.seconds ?? 0 };
    },

    async accounts<Row extends { readonly account_id: string }>(page: {
      readonly state: string | null;
      readonly cursor: string | null;
      readonly limit: number;
    }): Promise<{ accounts: Row[]; nextCursor: string | null }> {
      const accounts = await db.run<Row>("list_accounts", [page.state, page.cursor, page.limit]);
      return {
        accounts,
        nextCursor: accounts.length < page.limit ? null : (accounts.at(-1)?.account_id ?? null),
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
}
