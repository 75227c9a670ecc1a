/**
 * The loop that folds: it looks at the change table when it is woken, when the doorbell says so, and at every sweep, moves changes into the
 * account rows and expands markers. It knows nothing of claims.
 */
import type { Clock } from "../clock.ts";
import type { Observe } from "../ops/observe.ts";
import type { FailedExpansion } from "./expansion.ts";
import { Loop, type LoopTrouble } from "./loop.ts";
import { FOLD_LIMIT, type Queue } from "./queue.ts";

export interface FoldLoopOptions {
  readonly clock: Clock;
  readonly fold: Queue["fold"];
  /** null leaves markers to other processes. */
  readonly expand: Queue["expand"] | null;
  /** Says when to look next; told what every look found. */
  readonly doorbell: { afterLook(found: boolean): Promise<number> };
  /** Accounts may be due: some were folded, or the wake was for those that another process made due. */
  readonly onDue: () => void;
  readonly observe: Pick<Observe, "folded" | "databaseTrouble" | "databaseBack" | "warning">;
  readonly sweepIntervalMs: number;
}

export class FoldLoop {
  readonly #options: FoldLoopOptions;
  readonly #loop: Loop;
  /** Markers that other replicas left, or that were set aside, are looked for once a sweep. */
  #expandAt = 0;
  /** When those are due that this process has set aside itself. */
  #retriesAt: readonly number[] = [];
  #mayExpand = true;
  /** From the start: what was due before is claimed only after what has changed since is folded, so that the two are one sync. */
  #isWoken = true;

  constructor(options: FoldLoopOptions) {
    this.#options = options;
    const { clock, observe, sweepIntervalMs } = options;
    this.#loop = new Loop({
      clock,
      round: () => this.#look(),
      longestWaitMs: sweepIntervalMs,
      onTrouble: (error) => observe.databaseTrouble({ doing: "folding changes", error }),
      onRecovered: () => observe.databaseBack(),
    });
  }

  start(): void {
    this.#loop.start();
  }

  /** Something may have changed. */
  wake(): void {
    this.#isWoken = true;
    this.#loop.wake();
  }

  /** Resolves when the look under way is over. */
  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  get trouble(): LoopTrouble | null {
    return this.#loop.trouble;
  }

  async #look(): Promise<number> {
    const { doorbell } = this.#options;
    const folded = await this.#fold();
    const expanded = await this.#expand(folded.markers > 0);
    const lookInMs = await doorbell.afterLook(folded.changes > 0 || expanded);
    const isMore = folded.changes === FOLD_LIMIT || expanded;
    return isMore ? 0 : Math.min(lookInMs, this.#untilRetry());
  }

  async #fold(): ReturnType<Queue["fold"]> {
    const { fold, onDue, observe } = this.#options;
    let mayBeDue = this.#isWoken;
    this.#isWoken = false;
    try {
      const folded = await fold();
      if (folded.changes > 0) observe.folded(folded);
      mayBeDue ||= folded.accounts > 0;
      return folded;
    } finally {
      // What is due is worked off also while changes cannot be folded.
      if (mayBeDue) onDue();
    }
  }

  /** One chunk of one marker. Resolves with whether there was one. */
  async #expand(hasMarkers: boolean): Promise<boolean> {
    const { clock, expand, sweepIntervalMs } = this.#options;
    if (expand === null) return false;
    const now = clock.now();
    const isTimeToExpand = now >= this.#expandAt;
    if (isTimeToExpand) this.#expandAt = now + sweepIntervalMs;
    // Remembered before it is tried: the fold has taken the markers, and a look that fails comes again.
    this.#mayExpand ||= hasMarkers || isTimeToExpand || this.#untilRetry() <= 0;
    if (!this.#mayExpand) return false;

    this.#retriesAt = this.#retriesAt.filter((at) => at > now);
    const expansion = await expand();
    if (typeof expansion === "object") this.#tellFailed(expansion);
    this.#mayExpand = expansion !== false;
    return this.#mayExpand;
  }

  #tellFailed({ error, againInMs }: FailedExpansion): void {
    const { clock, observe } = this.#options;
    if (againInMs === null) {
      observe.warning(
        "A change that accounts depended on is dropped: this database has nothing that says which accounts",
        { error },
      );
      return;
    }
    this.#retriesAt = [...this.#retriesAt, clock.now() + againInMs];
    observe.databaseTrouble({ doing: "expanding a marker", error });
  }

  #untilRetry(): number {
    return Math.min(...this.#retriesAt) - this.#options.clock.now();
  }
}
