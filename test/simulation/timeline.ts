/** The time of a history: it stands still but for what the history does. */
export class Timeline {
  /** Milliseconds since the beginning. */
  now = 0;
  readonly #timers = new Set<Timer>();
  #set = 0;

  /** @param owner whose timer it is: a process that is stopped hears of nothing */
  after(owner: object, ms: number, call: () => void): () => void {
    this.#set += 1;
    const timer = { at: this.now + Math.max(ms, 0), order: this.#set, owner, call };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** The next timer of those that can hear it. */
  next(hears: (owner: object) => boolean): Timer | null {
    let next: Timer | null = null;
    for (const timer of this.#timers) {
      if (!hears(timer.owner)) continue;
      if (next === null || timer.at < next.at || (timer.at === next.at && timer.order < next.order))
        next = timer;
    }
    return next;
  }

  fire(timer: Timer): void {
    this.#timers.delete(timer);
    this.now = Math.max(this.now, timer.at);
    timer.call();
  }

  forget(owner: object): void {
    for (const timer of this.#timers) if (timer.owner === owner) this.#timers.delete(timer);
  }
}

export interface Timer {
  readonly at: number;
  readonly order: number;
  readonly owner: object;
  readonly call: () => void;
}
