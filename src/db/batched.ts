/**
 * Lets the story of one account read as if it were alone, while the database sees batches.
 *
 * DataLoader does the gathering; nothing is cached. Batches wait for the one before them, so the busier it is the larger they grow,
 * and there is never more than one connection at work for each verb.
 */
import DataLoader from "dataloader";
import { isContention, isOutage } from "./database.ts";

/** What one statement carries at most: 64 accounts of a megabyte each are eight statements. */
export const BATCH_BYTES_MAX = 8 * 1024 * 1024;

/**
 * @param bytesOf about what an item weighs in the statement; a batch that is too heavy is run in parts, one after the other
 * @param run all of a batch or nothing of it: one that fails is repeated item by item, so that a bad item costs only itself. Not in an
 *   outage, nor when others were in the way: then it was none of the items.
 */
export function batched<Item, Result>(
  maxBatchSize: number,
  run: (items: readonly Item[]) => Promise<readonly (Result | Error)[]>,
  bytesOf: (item: Item) => number = () => 0,
): (item: Item) => Promise<Result> {
  let running: Promise<unknown> = Promise.resolve();
  let line: Promise<unknown> = Promise.resolve();

  const loader = new DataLoader<Item, Result>(
    (items) => {
      const results = runParts(run, partsOf(items, bytesOf));
      running = results.catch(() => {});
      return results;
    },
    {
      cache: false,
      maxBatchSize,
      batchScheduleFn: (flush) => {
        line = line.then(async () => {
          // One turn of the event loop more, for those who were waiting for the same batch.
          await new Promise((resolve) => setImmediate(resolve));
          flush();
          await running;
        });
      },
    },
  );
  return (item) => loader.load(item);
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

/** A part that fails as a whole says nothing about the others: those before it are done. */
async function runParts<Item, Result>(
  run: (items: readonly Item[]) => Promise<readonly (Result | Error)[]>,
  parts: readonly (readonly Item[])[],
): Promise<readonly (Result | Error)[]> {
  const results: (Result | Error)[] = [];
  for (const items of parts) {
    try {
      results.push(...(await runAll(run, items)));
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
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
    if (items.length === 1 || isNobodysFault(error)) throw error;
  }
  const results: (Result | Error)[] = [];
  let outage: Error | null = null;
  for (const item of items) {
    try {
      results.push(...(outage === null ? await run([item]) : [outage]));
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      if (isNobodysFault(error)) outage = failure;
      results.push(failure);
    }
  }
  return results;
}

function isNobodysFault(error: unknown): boolean {
  return isOutage(error) || isContention(error);
}
