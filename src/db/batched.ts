/**
 * Gathers the items of many callers into batches: each caller works on one account, and the database gets one statement.
 *
 * DataLoader does the gathering; nothing is cached. A batch waits for the one before it, so batches grow with the load, and no more than
 * one connection is in use for each function that is batched.
 */
import DataLoader from "dataloader";
import type { Clock } from "../clock.ts";
import { isContention, isOutage } from "./error-code.ts";
import { toError } from "./to-error.ts";

/** What one statement carries at most: 128 accounts of a megabyte each are sixteen statements. */
export const BATCH_BYTES_MAX = 8 * 1024 * 1024;

/**
 * While several items come at a time, a batch waits for more of them, until there are enough or time is up: a transaction of thirty costs
 * hardly more than one of seven. After a batch of one the next item does not wait.
 */
export interface Gathering {
  readonly enough: number;
  readonly forMs: number;
  readonly clock: Pick<Clock, "after">;
}

/**
 * @param bytesOf the approximate size of an item in the statement; a batch that is too large is run in parts, one after the other
 * @param run does all of a batch or nothing of it. One that fails is repeated item by item, so that a bad item fails alone; not in an
 *   outage or with contention, which no item caused.
 */
export function batched<Item, Result>(
  maxBatchSize: number,
  run: (items: readonly Item[]) => Promise<readonly (Result | Error)[]>,
  bytesOf: (item: Item) => number = () => 0,
  gathering: Gathering | null = null,
): (item: Item) => Promise<Result> {
  let running: Promise<unknown> = Promise.resolve();
  let turn: Promise<unknown> = Promise.resolve();
  const crowd = new Crowd();

  const loader = new DataLoader<Item, Result>(
    (items) => {
      crowd.leave(items.length);
      const results = runParts(run, partsOf(items, bytesOf));
      running = results.catch(() => {});
      return results;
    },
    {
      cache: false,
      maxBatchSize,
      batchScheduleFn: (flush) => {
        turn = turn.then(async () => {
          // One more turn of the event loop, for callers that were waiting for the same batch.
          await new Promise((resolve) => setImmediate(resolve));
          if (gathering !== null) await crowd.gather(gathering);
          flush();
          await running;
        });
      },
    },
  );
  return (item) => {
    crowd.join();
    return loader.load(item);
  };
}

/** The items that wait for a batch. */
class Crowd {
  #waiting = 0;
  #lastBatch = 0;
  #joined = () => {};

  join(): void {
    this.#waiting += 1;
    this.#joined();
  }

  leave(items: number): void {
    this.#waiting -= items;
    this.#lastBatch = items;
  }

  async gather({ enough, forMs, clock }: Gathering): Promise<void> {
    if (this.#lastBatch <= 1 || this.#waiting >= enough) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const callOff = clock.after(forMs, resolve);
    this.#joined = () => {
      if (this.#waiting >= enough) resolve();
    };
    await promise;
    this.#joined = () => {};
    callOff();
  }
}

function partsOf<Item>(items: readonly Item[], bytesOf: (item: Item) => number): Item[][] {
  const parts: Item[][] = [];
  let room = 0;
  for (const item of items) {
    const bytes = bytesOf(item);
    if (parts.length === 0 || bytes > room) {
      parts.push([]);
      room = BATCH_BYTES_MAX;
    }
    parts.at(-1)?.push(item);
    room -= bytes;
  }
  return parts;
}

/** A part that fails as a whole does not fail the others: those before it are done. */
async function runParts<Item, Result>(
  run: (items: readonly Item[]) => Promise<readonly (Result | Error)[]>,
  parts: readonly (readonly Item[])[],
): Promise<readonly (Result | Error)[]> {
  const results: (Result | Error)[] = [];
  for (const items of parts) {
    try {
      results.push(...(await runAll(run, items)));
    } catch (error) {
      const failure = toError(error);
      results.push(...items.map(() => failure));
    }
  }
  return results;
}

async function runAll<Item, Result>(
  run: (items: readonly Item[]) => Promise<readonly (Result | Error)[]>,
  items: readonly Item[],
): Promise<readonly (Result | Error)[]> {
  try {
    return await run(items);
  } catch (error) {
    if (items.length === 1 || isNoItemsFault(error)) throw error;
  }
  const results: (Result | Error)[] = [];
  let outage: Error | null = null;
  for (const item of items) {
    try {
      results.push(...(outage === null ? await run([item]) : [outage]));
    } catch (error) {
      const failure = toError(error);
      if (isNoItemsFault(error)) outage = failure;
      results.push(failure);
    }
  }
  return results;
}

function isNoItemsFault(error: unknown): boolean {
  return isOutage(error) || isContention(error);
}
