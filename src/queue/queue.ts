/**
 * The only code that writes the queue's tables: fold, claim, renew, settle, and what a person asks for. The SQL functions of
 * sql/migrations/12_decide_over_unfinished_sends.sql write them too, under the rows' locks, and not while a worker has the account.
 *
 * States of an account's row, and what moves it (the columns are explained in sql/migrations/2_keep_one_row_per_account.sql):
 *
 *     clean ──fold──▶ waiting ──time──▶ due ──claim──▶ running ──settle──▶ clean
 *                        ▲                ▲                 ├─ again ────▶ retrying ──time──▶ due
 *                        │                │                 ├─ blocked ──▶ blocked ──parent──▶ due
 *                        └────────────────┴──fold, retry────┴─ parked ───▶ parked
 *
 * A lease that runs out makes the row due again by itself: due_at is the lease. Every write that ends a claim compares the lease
 * token, so a worker that was away too long changes nothing; and the generation, so a change during a send is not lost.
 */
import { createHash } from "node:crypto";
import type { Database, Queryable } from "../db/database.ts";
import { isOutage } from "../db/error-code.ts";
import type { ErrorClass, Trigger } from "../sync/outcome.ts";
import { createActs } from "./acts.ts";
import { type ByLane, ClaimedUpTo } from "./claimed-up-to.ts";
import { expandMarker } from "./expansion.ts";
import { SILENCE_MAX_MS } from "./liveness.ts";

export interface QueueOptions {
  readonly db: Database;
  /** Commits without waiting for the disk: folds, claims and renewals, which a crash only repeats. */
  readonly relaxedDb: Database;
  readonly quietPeriodMs: number;
  readonly maxWaitMs: number;
  readonly leaseMs: number;
  /** This daemon's number, under which the others know that it lives; null for a command, whose leases simply run out. */
  readonly replicaId?: number | null;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
}

/** The right to work on one account until the lease ends. */
export interface Claim {
  readonly accountId: string;
  readonly leaseToken: string;
  /** A bigint column, so text. */
  readonly generation: string;
  readonly trigger: Trigger;
  /** How long the first change had been waiting when it was claimed, on the database's clock. */
  readonly pendingMs: number;
  /** Failed tries of this round so far. */
  readonly attempts: number;
  /** How many of the last tries in a row failed in the same way, and in which one. */
  readonly failuresAlike: number;
  readonly failureKind: string | null;
  /** Creates of the account that have come to an end: the ordinal of the next one. */
  readonly createsEnded: number;
  readonly userId: string | null;
  readonly configId: string | null;
  /** A person asked: no unchanged check. */
  readonly force: boolean;
  /** A person asked for it: a different id on the row is replaced. */
  readonly replace: boolean;
  /** A person put it back after it was parked: a create whose outcome is unknown may be sent again. */
  readonly retry: boolean;
  /** A person gave the unfinished send up: it was not applied, current data go out instead. */
  readonly discard: boolean;
  readonly fingerprint: string | null;
  /** The external id of a deleted account. */
  readonly removedExternalId: string | null;
}

/** An account that was taken: a claim without anything that was asked for. */
export interface Taken
  extends Pick<
    Claim,
    | "accountId"
    | "leaseToken"
    | "generation"
    | "attempts"
    | "failuresAlike"
    | "failureKind"
    | "createsEnded"
    | "fingerprint"
  > {
  /** Something else is to be delivered, too. */
  readonly wasPending: boolean;
}

/**
 * What becomes of what was asked for (user, configuration, force, a person's decision) while the account goes on: `kept`; `kept with retry`:
 * a person allowed the create to be sent again, and the send did not use that up; `decided`: what a person decided is done, the rest is
 * kept; `dropped`: it does not fit the account. Clean and parked accounts keep only where they were asked to go.
 */
export type RequestBecomes = "kept" | "kept with retry" | "decided" | "dropped";

/** What settling does to an account's row. */
export interface Settlement {
  readonly claim: Claim;
  /** The generation the outcome speaks for: the claim's, or an earlier one when an earlier send was finished. */
  readonly generation: string;
  readonly disposition: "clean" | "again" | "blocked" | "parked";
  /** For `again` and `blocked`. */
  readonly delayMs: number;
  readonly countsAsAttempt: boolean;
  /** What is counted as failing alike; null for what says nothing about the account. */
  readonly failureKind: string | null;
  /** A create has come to an end, and the next one is another. */
  readonly endsCreate: boolean;
  readonly request: RequestBecomes;
  readonly errorClass: ErrorClass | null;
  readonly error: string | null;
  /** Of the command the API has last, when that is known: just accepted and its ids stand, or a newer one did not get there. */
  readonly fingerprint: string | null;
  readonly blockedBy: string | null;
}

export type Queue = ReturnType<typeof createQueue>;

/** Rows of one fold: 10,000 changes fold in about a tenth of a second. */
export const FOLD_LIMIT = 10_000;
/** Rows of history removed by one step. */
const FORGET_CHUNK = 10_000;

export function createQueue({
  db,
  relaxedDb,
  quietPeriodMs,
  maxWaitMs,
  leaseMs,
  replicaId = null,
  now = () => performance.now(),
}: QueueOptions) {
  const claimedUpTo = new ClaimedUpTo(now);
  /** Of claims that may have happened and were not answered, as the session was cut: no worker has what they took. */
  const unanswered = new Set<string>();

  async function releaseUnanswered(): Promise<void> {
    const tokens = [...unanswered];
    const taken = await relaxedDb.run<Leased>("find_unanswered_claims", [tokens, leaseMs]);
    if (taken.length > 0) await release(taken);
    for (const token of tokens) unanswered.delete(token);
  }

  async function release(claims: readonly Leased[], within: Queryable = relaxedDb): Promise<void> {
    await within.run("release_leases", leasesOf(claims));
  }

  return {
    leaseMs,
    /** Without a renewal for so long, another process may have our accounts. */
    silenceMs: Math.min(leaseMs * 0.9, SILENCE_MAX_MS),

    /** Moves a batch of changes into the account rows. */
    async fold(): Promise<{ changes: number; accounts: number; markers: number }> {
      const [folded] = await relaxedDb.run<Folded>("fold_changes", [
        FOLD_LIMIT,
        quietPeriodMs,
        maxWaitMs,
      ]);
      const { dueFrom = null, ...counts } = folded ?? { changes: 0, accounts: 0, markers: 0 };
      if (dueFrom !== null) claimedUpTo.folded(dueFrom);
      return counts;
    },

    /** One chunk of one marker: see expansion.ts. */
    expand: () => expandMarker(db),

    /**
     * Takes due accounts with a lease, manual before change before backfill.
     *
     * @param among these accounts only; null for any
     */
    async claim(limit: number, among: readonly string[] | null = null): Promise<Claim[]> {
      if (unanswered.size > 0) await releaseUnanswered();

      const token = crypto.randomUUID();
      const search = claimedUpTo.searchDue();
      try {
        const parameters = [limit, leaseMs, token, replicaId, among, ...search.parameters];
        const claims = await relaxedDb.run<Claim & ByLane>("claim_accounts", parameters);
        if (claims[0] !== undefined) search.found(claims[0]);
        return claims;
      } catch (error) {
        if (isOutage(error)) unanswered.add(token);
        throw error;
      } finally {
        search.end();
      }
    },

    /**
     * Takes the first of these accounts with a lease for a caller that brings the data to send, whatever they wait for; those that another
     * process has are passed over. A round that was pending is not the caller's to end.
     */
    async take(accountIds: readonly string[], limit: number): Promise<Taken[]> {
      return await relaxedDb.run<Taken>("take_accounts", [
        accountIds,
        limit,
        leaseMs,
        crypto.randomUUID(),
      ]);
    },

    /** Moves the end of the leases. Resolves with the account ids that are still ours. */
    async renew(claims: readonly Claim[]): Promise<Set<string>> {
      const renewed = await relaxedDb.run<{ accountId: string }>("renew_leases", [
        ...leasesOf(claims),
        leaseMs,
        replicaId,
      ]);
      return new Set(renewed.map((row) => row.accountId));
    },

    /** Gives claims back unworked. */
    release,

    /** Locks the rows whose lease is still ours until the transaction ends. Resolves with their account ids. */
    async lockLeases(tx: Queryable, claims: readonly Claim[]): Promise<Set<string>> {
      const held = await tx.run<{ accountId: string }>("lock_leases", leasesOf(claims));
      return new Set(held.map((row) => row.accountId));
    },

    /** Applies outcomes to rows that `lockLeases` has locked. */
    async settle(tx: Queryable, settlements: readonly Settlement[]): Promise<void> {
      await tx.run("settle_accounts", [
        JSON.stringify(
          settlements.map(({ claim, delayMs, ...settlement }) => ({
            ...settlement,
            accountId: claim.accountId,
            delayMs: Math.round(delayMs),
          })),
        ),
        quietPeriodMs,
        maxWaitMs,
      ]);
    },

    /**
     * Makes the accounts due that wait for these parents. Called after the transaction that settled: in it, two settling workers
     * and a fold could lock the same rows in different orders.
     */
    async wakeChildren(parentIds: readonly string[]): Promise<void> {
      if (parentIds.length > 0) await db.run("wake_children", [parentIds]);
    },

    /** Puts accounts back that were parked for an unknown outcome, where the answer has come in after all. */
    async reviveAnswered(accountIds: readonly string[] | "all"): Promise<void> {
      if (accountIds.length > 0)
        await db.run("revive_answered", [accountIds === "all" ? null : accountIds]);
    },

    /** Milliseconds until the next account falls due, or may be found to be due; null when none is pending. */
    async nextDueInMs(): Promise<number | null> {
      const search = claimedUpTo.searchNextDue();
      try {
        const [next] = await relaxedDb.run<ByLane & { readonly inMs: number | null }>(
          "next_due",
          search.parameters,
        );
        if (next === undefined) return null;
        search.found(next);
        const { searchesAllInMs } = claimedUpTo;
        if (next.inMs === null || searchesAllInMs === null) return next.inMs ?? searchesAllInMs;
        return Math.min(next.inMs, searchesAllInMs);
      } finally {
        search.end();
      }
    },

    /** Asks for a sync of these accounts now: durable, whichever process does it. */
    async request(
      accountIds: readonly string[],
      how: {
        readonly userId: string | null;
        readonly configId: string | null;
        readonly force: boolean;
        /** An id that stands is replaced by the one that the API answers. */
        readonly replace?: boolean;
      },
    ): Promise<void> {
      const { userId, configId, force, replace = false } = how;
      await db.run(replace ? "request_replacement" : "request_accounts", [
        accountIds,
        userId,
        configId,
        ...(replace ? [] : [force]),
      ]);
    },

    /** Marks many accounts in the slow lane. */
    async mark(which: "all" | "missing" | "unqueued"): Promise<void> {
      await db.run("request_marker", [which]);
      await db.run("ring");
    },

    /** Marks these accounts in the slow lane. What is pending by then is coalesced: it is not sent twice for having been marked. */
    async markAccounts(accountIds: readonly string[]): Promise<void> {
      await db.run("mark_accounts", [accountIds]);
      await db.run("ring");
    },

    /** Turns NOTIFY payloads into requests, once over all replicas. */
    async hear(notifications: readonly Heard[], hearer: number): Promise<void> {
      await db.run("hear_notifications", [
        notifications.map((notification) => notification.notifierPid),
        notifications.map((notification) =>
          createHash("sha256").update(notification.payload).digest("hex"),
        ),
        notifications.map((notification) => notification.accountId),
        notifications.map((notification) => notification.userId),
        notifications.map((notification) => notification.configId),
        notifications.map((notification) => notification.force),
        hearer,
      ]);
    },

    /** Wakes the resting replicas. */
    async ring(): Promise<void> {
      await relaxedDb.run("ring");
    },

    ...createActs(db),

    /** Housekeeping, in bounded steps. */
    async removeOldHistory(retentionDays: number): Promise<void> {
      await db.run("forget_heard_notifications");
      await db.run("forget_old_attempts", [retentionDays, FORGET_CHUNK]);
    },
  };
}

/** A NOTIFY payload that asks for syncs. */
export interface Heard {
  readonly notifierPid: number;
  readonly payload: string;
  /** null: every account. */
  readonly accountId: string | null;
  readonly userId: string | null;
  readonly configId: string | null;
  readonly force: boolean;
}

interface Folded {
  readonly changes: number;
  readonly accounts: number;
  readonly markers: number;
  readonly dueFrom: number | null;
}

type Leased = Pick<Claim, "accountId" | "leaseToken">;

function leasesOf(claims: readonly Leased[]): [string[], string[]] {
  return [claims.map((claim) => claim.accountId), claims.map((claim) => claim.leaseToken)];
}
