/** The state of the queue, as account_sync.status and the API of the console show it. */
import { expect } from "vitest";
import { isAtRest } from "./audit.ts";
import { eventually } from "./eventually.ts";
import type { TestDatabase } from "./postgres.ts";

type Reader = Pick<TestDatabase, "query">;

export interface AccountState {
  readonly account_id: string;
  readonly state: string;
  readonly attempts: number;
  readonly error_class: string | null;
  readonly error: string | null;
}

export async function stateOf(database: Reader, id: string): Promise<AccountState> {
  const [row] = await database.query<AccountState & { [column: string]: unknown }>(
    "select account_id, state, attempts, error_class, error from account_sync.status where account_id = $1",
    [id],
  );
  if (row === undefined) throw new Error(`the queue does not know account ${id}`);
  return row;
}

/** How many accounts stand in each state. */
export async function countStates(database: Reader): Promise<Record<string, number>> {
  const rows = await database.query<{ state: string; count: number }>(
    "select state, count(*)::integer as count from account_sync.status group by state",
  );
  return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
}

/** Resolves with how long it took. */
export async function untilAtRest(database: Reader, timeoutMs = 30_000): Promise<number> {
  const startedAt = performance.now();
  await eventually(
    async () => {
      expect(await isAtRest(database)).toBe(true);
      expect(await isAboutToWake(database)).toBe(false);
    },
    { timeoutMs },
  );
  return performance.now() - startedAt;
}

/** Children are woken a moment after their parent has settled: until then they look blocked for good. */
async function isAboutToWake(database: Reader): Promise<boolean> {
  const [row] = await database.query<{ waking: boolean }>(
    `select exists (
       select from account_sync.account a
       join m_account child on child.id::text = a.account_id
       left join m_account parent on parent.id = child."parentId"
       where a.blocked_by is not null and (child."parentId" is null or parent.uuid_be is not null)
     ) as waking`,
  );
  return row?.waking === true;
}

/** Puts every parked account back, as `account-sync retry --all` and the console do. */
export async function retryAll(daemon: { readonly url: string }): Promise<void> {
  const answer = await fetch(`${daemon.url}/api/accounts/retry`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ all: true }),
  });
  expect(answer.status).toBe(200);
}

/** The largest number of these moments (milliseconds) that lie within one window of this length. */
export function mostWithin(times: readonly number[], windowMs: number): number {
  return Math.max(
    0,
    ...times.map(
      (start) => times.filter((time) => time >= start && time < start + windowMs).length,
    ),
  );
}
