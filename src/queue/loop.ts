/**
 * A loop that goes round when it is woken or its time has come. A round that the database fails is repeated after a growing wait, which no
 * wake shortens: a notification does not repair the database.
 */
import { reconnectMs } from "../backoff.ts";
import { type Clock, sleep } from "../clock.ts";

export interface LoopOptions {
  readonly clock: Clock;
  /** Resolves with the milliseconds until the next round. */
  readonly round: () => Promise<number>;
  /** It goes round at least so often. */
  readonly longestWaitMs: number;
  readonly onTrouble: (error: unknown) => void;
  /** The first round that succeeds after trouble. */
  readonly onRecovered: () => void;
}

/** Why a loop does not get through its rounds, and since when (monotonic). */
export interface LoopTrouble {
  readonly error: unknown;
  readonly sinceMs: number;
}

/** A reason that is at hand: by default an error is made for each. */
const WOKEN = "woken";

/** The wait after a failed round. */
const TROUBLE_WAIT = { minMs: 100, maxMs: 2_000 };

export class Loop {
  readonly #options: LoopOptions;
  readonly #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #isWoken = false;
  #alarm: (() => void) | null = null;
  #trouble: LoopTrouble | null = null;

  constructor(options: LoopOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Sets a flag: the loop runs at its own pace. A wake during a round is good for another round. */
  wake(): void {
    this.#isWoken = true;
    this.#alarm?.();
  }

  /** Resolves when the round under way is over. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#alarm?.();
    await this.#running;
  }

  get isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** null while it gets through its rounds. */
  get trouble(): LoopTrouble | null {
    return this.#trouble;
  }

  async #run(): Promise<void> {
    const { clock, round, onTrouble, onRecovered } = this.#options;
    let failures = 0;
    while (!this.isStopping) {
      this.#isWoken = false;
      try {
        const waitMs = await round();
        if (this.#trouble !== null) onRecovered();
        this.#trouble = null;
        failures = 0;
        await this.#sleep(waitMs);
      } catch (error) {
        // The pool may be closed by now, under a round that nothing waits for.
        if (this.isStopping) return;
        this.#trouble = { error, sinceMs: this.#trouble?.sinceMs ?? clock.now() };
        onTrouble(error);
        const waitMs = reconnectMs(failures, TROUBLE_WAIT, () => clock.random());
        failures += 1;
        await sleep(clock, waitMs, this.#stopping.signal);
      }
    }
  }

  async #sleep(ms: number): Promise<void> {
    if (this.#isWoken || ms <= 0) {
      // Timers and sockets get their turn, however fast the rounds follow each other.
      await new Promise((resolve) => setImmediate(resolve));
      return;
    }
    if (this.isStopping) return;
    const { clock, longestWaitMs } = this.#options;
    const awake = new AbortController();
    this.#alarm = () => awake.abort(WOKEN);
    await sleep(clock, Math.min(ms, longestWaitMs), awake.signal);
    this.#alarm = null;
  }
}
