/**
 * Where a history's choices come from: a list of numbers that fast-check makes, and makes shorter and smaller when the history fails.
 * Zero is always the harmless choice (the first of a list, no fault), and so is everything after the end.
 */
export class Tape {
  readonly #numbers: readonly number[];
  #position = 0;

  /** @param numbers unsigned, 32 bits */
  constructor(numbers: readonly number[]) {
    this.#numbers = numbers;
  }

  get isUsedUp(): boolean {
    return this.#position >= this.#numbers.length;
  }

  /** From here on every choice is the harmless one. */
  end(): void {
    this.#position = this.#numbers.length;
  }

  /** In [0, 1). */
  fraction(): number {
    const number = this.#numbers[this.#position] ?? 0;
    this.#position += 1;
    return number / 2 ** 32;
  }

  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }

  chance(probability: number): boolean {
    return this.fraction() >= 1 - probability;
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error("there is nothing to pick from");
    return item;
  }

  pickWeighted<Item extends { readonly weight: number }>(items: readonly Item[]): Item {
    const total = items.reduce((sum, { weight }) => sum + weight, 0);
    let left = this.fraction() * total;
    for (const item of items) {
      left -= item.weight;
      if (left < 0) return item;
    }
    return this.pick(items);
  }
}
