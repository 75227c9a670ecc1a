/** Follows accounts to the end of a sync that was asked for, by the journal and their rows: whichever process does the work. */
import type { Wiring } from "../wiring.ts";
import {
  type FinishedAttempt,
  type FollowedAccount,
  reportOf,
  type SyncReport,
  unfinishedReport,
} from "./sync-report.ts";

/**
 * Follows accounts to the end of the sync that is about to be requested: the first attempt younger than now that speaks for the
 * generation the request was folded into, or for a later one.
 */
export async function followAccounts({ db }: Pick<Wiring, "db">, accountIds: readonly string[]) {
  const [last] = await db.run<{ attemptId: string }>("last_attempt");
  const pending = new Set(accountIds);
  const wanted = new Map<string, bigint>();

  /** From one snapshot: an attempt and the row as it left it belong together. */
  async function read() {
    const ids = [...pending];
    const since = last?.attemptId ?? "0";
    return await db.snapshot(async (tx) => {
      const accounts = await tx.run<FollowedAccount>("follow_accounts", [ids]);
      const attempts = await tx.run<FinishedAttempt>("attempts_since", [ids, since]);
      return { accounts, attemptsOf: Map.groupBy(attempts, (attempt) => attempt.accountId) };
    });
  }

  return {
    pending,

    /** The results of those that have come to their end. */
    async look(remainingMs: number): Promise<SyncReport[]> {
      const { accounts, attemptsOf } = await read();
      const results = accounts.flatMap((account) => {
        const { accountId, generation, hasChanges } = account;
        if (generation === null || hasChanges) return [];
        if (!wanted.has(accountId)) wanted.set(accountId, BigInt(generation));

        const attempts = attemptsOf.get(accountId) ?? [];
        const own = attempts.find(
          (attempt) => BigInt(attempt.generation) >= (wanted.get(accountId) ?? 0n),
        );
        const rests =
          own === undefined && comesToNothingInTime(account, attempts.length > 0, remainingMs);
        return own === undefined && !rests ? [] : [reportOf(account, own ?? attempts.at(-1))];
      });
      for (const { accountId } of results) pending.delete(accountId);
      return results;
    },

    /** What is known of those that did not come to their end in time. */
    async giveUp(): Promise<SyncReport[]> {
      if (pending.size === 0) return [];
      const { accounts } = await read();
      pending.clear();
      return accounts.map(unfinishedReport);
    },
  };
}

/**
 * No attempt for what was asked will come in time: the account is parked, or an earlier send failed once more and is to be
 * finished first, or the backoff is longer than the command waits.
 */
function comesToNothingInTime(
  account: FollowedAccount,
  wasTried: boolean,
  remainingMs: number,
): boolean {
  switch (account.state) {
    case "parked":
      return true;
    case "retrying":
    case "blocked":
      return (account.dueInMs ?? 0) > (wasTried ? 0 : remainingMs);
    default:
      return false;
  }
}
