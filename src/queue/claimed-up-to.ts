/**
 * Up to where each lane has been claimed: a claim searches the due accounts from there on, and so does the question when the next one falls due.
 *
 * The index on (lane, due_at) is searched from its lower end, and there lie the dead entries of everything that was claimed. While a dump holds an
 * old snapshot nothing can remove them, and each costs 0.2 µs, at every search: 55 ms behind 300,000 of them. A search from where the last
 * claim ended passes them by.
 *
 * It can overlook a row that gets a due time below that: changes that another replica folds late, a row that was locked when a claim passed
 * by. So everything is searched, too, for a tenth of the time, and at the latest after ten seconds: that is how long a due account may be
 * overlooked. While no old snapshot is held it is nine times what a claim takes. What is likely is found without it:
 *
 * - Our own folds say from when on their accounts are due, and the bound is lowered to that. A search that is under way meanwhile may not
 *   have seen them, so it raises the bound no further.
 * - Settling opens no round that was due before now.
 * - Half a second is searched again in any case: accounts fall due at the beginning of a transaction, and are seen after its commit.
 */

/** In the order in which they are claimed. */
const LANES = ["manual", "change", "backfill"] as const;

export type Lane = (typeof LANES)[number];

/** Microseconds since 1970, as the database counts them: a number holds them exactly. */
export type ByLane = Readonly<Record<Lane, number | null>>;

/** A search that is under way. */
export interface Search {
  /** From where on, and how many milliseconds to go back at least. */
  readonly parameters: readonly [manual: number, change: number, backfill: number, backMs: number];
  /** Of what it could see, nothing is left to be claimed below that. */
  found(upTo: ByLane): void;
  /** To be called however it ended. */
  end(): void;
}

const EVERYTHING: Search["parameters"] = [0, 0, 0, 0];
const BACK_MS = 500;
/** Everything is searched for at most this part of the time. */
const SHARE = 10;
/** A process that was stopped during a search, or cut off from the database, has not searched for so long. */
const EVERYTHING_WITHIN_MS = 10_000;

export class ClaimedUpTo {
  readonly #now: () => number;
  readonly #bounds = { manual: 0, change: 0, backfill: 0 };
  readonly #underWay = new Set<{ raiseTo: number }>();
  #everythingAt = Number.NEGATIVE_INFINITY;
  #mayHaveOverlooked = false;

  /** @param now monotonic milliseconds */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Begins a search for what is due, of everything when it is time for that. */
  searchDue(): Search {
    const begunAt = this.#now();
    this.#mayHaveOverlooked = begunAt < this.#everythingAt;
    if (this.#mayHaveOverlooked) return this.#begin(this.#fromBounds());
    return this.#begin(EVERYTHING, () => {
      const endedAt = this.#now();
      const waitMs = Math.min((endedAt - begunAt) * (SHARE - 1), EVERYTHING_WITHIN_MS);
      this.#everythingAt = endedAt + waitMs;
    });
  }

  /** Begins a search for when the next account falls due. */
  searchNextDue(): Search {
    return this.#begin(this.#fromBounds());
  }

  /** Milliseconds until a claim finds what the last one may have overlooked; null when that searched everything. */
  get searchesAllInMs(): number | null {
    return this.#mayHaveOverlooked ? Math.max(0, this.#everythingAt - this.#now()) : null;
  }

  /** A fold made accounts of the lanes before the backfill due, the first of them then. */
  folded(dueFrom: number): void {
    for (const search of this.#underWay) search.raiseTo = Math.min(search.raiseTo, dueFrom);
    this.#bounds.manual = Math.min(this.#bounds.manual, dueFrom);
    this.#bounds.change = Math.min(this.#bounds.change, dueFrom);
  }

  #fromBounds(): Search["parameters"] {
    const { manual, change, backfill } = this.#bounds;
    return [manual, change, backfill, BACK_MS];
  }

  #begin(parameters: Search["parameters"], onEnd = () => {}): Search {
    const search = { raiseTo: Number.POSITIVE_INFINITY };
    this.#underWay.add(search);
    return {
      parameters,
      found: (upTo) => {
        for (const lane of LANES) {
          const bound = Math.min(upTo[lane] ?? 0, search.raiseTo);
          this.#bounds[lane] = Math.max(this.#bounds[lane], bound);
        }
      },
      end: () => {
        this.#underWay.delete(search);
        onEnd();
      },
    };
  }
}
