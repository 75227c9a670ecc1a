/**
 * Reconcile: walks over all accounts that the queue takes for delivered, compares them with what was accepted last, and marks those that
 * drifted in the slow lane. It needs no trigger to have fired: after a restore, or with triggers that were disabled, this is what finds
 * the difference.
 *
 *     waiting ──the interval has passed, and no replica walks──▶ walking ──step by step, with rests between──▶ finished
 *
 * The walk is a row in the database: one replica walks at a time, and another one goes on where a dead one was. Steps are small and rest
 * four times as long as they worked, so a million accounts cost a fifth of one connection for a while, and never delay a live edit.
 */
import { type Clock, sleep } from "../clock.ts";
import type { Database } from "../db/database.ts";
import type { Drift, KnownAccount } from "./drift.ts";

export interface ReconcileOptions {
  readonly clock: Clock;
  readonly db: Database;
  /** Says what drifted, in order; null where nothing did. */
  readonly findDrift: (known: readonly KnownAccount[]) => Promise<readonly (Drift | null)[]>;
  /** 0: never. */
  readonly intervalMs: number;
  /** Marks these accounts in the slow lane. */
  readonly mark: (accountIds: readonly string[]) => Promise<void>;
  readonly onStep: (results: readonly (Drift | null)[]) => void;
  readonly onWalked: (walk: Walk) => void;
  readonly onTrouble: (error: unknown) => void;
}

export interface Walk {
  readonly lookedAt: number;
  readonly drifted: Readonly<Record<Drift, number>>;
  readonly durationMs: number;
}

export interface Drifted {
  readonly accountId: string;
  readonly drift: Drift;
}

/** What a load takes in one batch. */
const STEP_ACCOUNTS = 64;
/** Rests so many times as long as it has worked. */
const REST_SHARE = 4;
/** Longer than any step, shorter than a walk that stands still after a crash should. */
const TURN_MS = 120_000;
/** How often it is looked whether it is time. */
const LOOK_EVERY_MS = 60_000;

/**
 * By itself, now and then. An account that has no external id any more although the API took it once is reported, not marked: to send it would
 * create a second customer, and that is a person's to decide.
 */
export class Reconcile {
  readonly #options: ReconcileOptions;
  readonly #stopping = new AbortController();
  #walking: Promise<void> = Promise.resolve();

  constructor(options: ReconcileOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#options.intervalMs > 0) this.#walking = this.#walkAgainAndAgain();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#walking;
  }

  async #walkAgainAndAgain(): Promise<void> {
    const { clock, intervalMs, onTrouble } = this.#options;
    while (!this.#stopping.signal.aborted) {
      await this.#walk().catch(onTrouble);
      await sleep(clock, Math.min(intervalMs, LOOK_EVERY_MS), this.#stopping.signal);
    }
  }

  async #walk(): Promise<void> {
    const { clock, db, intervalMs, onStep, onWalked } = this.#options;
    const token = crypto.randomUUID();
    const [begun] = await db.run<{ watermark: string }>("begin_reconciliation", [
      intervalMs,
      TURN_MS,
      token,
    ]);
    if (begun === undefined) return;

    const tally = createTally(clock);
    try {
      for (let after: string | null = begun.watermark; after !== null; ) {
        const begunAt = clock.now();
        const step = await lookAtStep(this.#options, after);
        await markAll(this.#options, step.drifted.filter(isForTheTimer));
        onStep(step.results);
        tally.add(step);
        const [moved] = await db.run("advance_reconciliation", [step.last ?? "", TURN_MS, token]);
        if (moved === undefined) return;
        after = step.last;
        if (after === null) break;
        await sleep(clock, REST_SHARE * (clock.now() - begunAt), this.#stopping.signal);
        if (this.#stopping.signal.aborted) return;
      }
    } finally {
      await db.run("leave_reconciliation", [token]).catch(() => {});
    }
    onWalked(tally.result());
  }
}

/** On request: all of it, now. With `dryRun` nothing is marked. */
export async function reconcileNow(
  options: Pick<ReconcileOptions, "clock" | "db" | "findDrift" | "mark">,
  how: { readonly dryRun: boolean; readonly onDrifted: (drifted: Drifted) => void },
): Promise<Walk> {
  const tally = createTally(options.clock);
  for (let after: string | null = ""; after !== null; ) {
    const step: WalkStep = await lookAtStep(options, after);
    if (!how.dryRun) await markAll(options, step.drifted);
    for (const drifted of step.drifted) how.onDrifted(drifted);
    tally.add(step);
    after = step.last;
  }
  return tally.result();
}

interface WalkStep {
  readonly results: readonly (Drift | null)[];
  readonly drifted: readonly Drifted[];
  /** null: there are no more. */
  readonly last: string | null;
}

async function lookAtStep(
  { db, findDrift }: Pick<ReconcileOptions, "db" | "findDrift">,
  after: string,
): Promise<WalkStep> {
  const known = await db.run<KnownAccount>("known_accounts", [after, STEP_ACCOUNTS]);
  const results = known.length === 0 ? [] : await findDrift(known);
  return {
    results,
    drifted: known.flatMap(({ accountId }, position) => {
      const drift = results[position] ?? null;
      return drift === null ? [] : [{ accountId, drift }];
    }),
    last: known.length < STEP_ACCOUNTS ? null : (known.at(-1)?.accountId ?? null),
  };
}

async function markAll(
  { mark }: Pick<ReconcileOptions, "mark">,
  drifted: readonly Drifted[],
): Promise<void> {
  if (drifted.length > 0) await mark(drifted.map(({ accountId }) => accountId));
}

function isForTheTimer({ drift }: Drifted): boolean {
  return drift !== "customer_missing";
}

function createTally(clock: Pick<Clock, "now">) {
  const begunAt = clock.now();
  const drifted = { changed: 0, ids_missing: 0, customer_missing: 0 };
  let lookedAt = 0;
  return {
    add(step: WalkStep): void {
      lookedAt += step.results.length;
      for (const { drift } of step.drifted) drifted[drift] += 1;
    },
    result: (): Walk => ({ lookedAt, drifted, durationMs: clock.now() - begunAt }),
  };
}
